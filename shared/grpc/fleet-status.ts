// Errors that cross the wire: a gRPC status whose metadata carries our stable code and the next step.
// The hub makes them with `fleetError`; agent and CLI read them with `readFleetError`. No secret may enter a message here.
import { Metadata, status, type ServiceError } from "@grpc/grpc-js";

const codeKey = "isthmus-code";
const hintKey = "isthmus-hint";

export interface FleetProblem {
  /** gRPC status: tells a client whether to try again (UNAVAILABLE) or to stop (PERMISSION_DENIED, ...). */
  readonly status: status;
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

export function fleetError(problem: FleetProblem): ServiceError {
  const metadata = new Metadata();
  metadata.set(codeKey, problem.code);
  if (problem.hint !== undefined) metadata.set(hintKey, encodeURIComponent(problem.hint));
  return Object.assign(new Error(`${problem.code}: ${problem.message}`), {
    code: problem.status,
    details: problem.message,
    metadata,
  });
}

/** What a failed call means; an error without our code (connection refused, TLS, deadline) gets ISTHMUS_HUB_UNREACHABLE. */
export function readFleetError(error: unknown): FleetProblem {
  if (!isServiceError(error)) throw error;
  const [code] = error.metadata.get(codeKey);
  const [hint] = error.metadata.get(hintKey);
  return {
    status: error.code,
    code: typeof code === "string" ? code : "ISTHMUS_HUB_UNREACHABLE",
    message: error.details === "" ? error.message : error.details,
    ...(typeof hint === "string" ? { hint: decodeHint(hint) } : {}),
  };
}

/** The other side's text: a broken escape must not become a second error. */
function decodeHint(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "metadata" in error && error.metadata instanceof Metadata && "details" in error;
}
