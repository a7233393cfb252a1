// What an API server's answer means to us, as one closed set. Thrown by client.ts; list-watch and the writers decide on
// `failure`, never on a status number or a message.
import { isObject, stringOf } from "./json.ts";

export type ApiFailure =
  | "unreachable" // no answer, or one that broke off: the state is unknown
  | "unauthorized"
  | "forbidden"
  | "not-found"
  | "conflict" // someone else wrote in between
  | "already-exists"
  | "gone" // a resource version or a continue token that the server no longer keeps
  | "invalid"
  | "throttled"
  | "server-error";

export class ApiError extends Error {
  readonly failure: ApiFailure;
  readonly status: number;
  /** From Retry-After; 0 when the server named none. */
  readonly retryAfterMs: number;

  constructor(
    failure: ApiFailure,
    message: string,
    more: { status?: number; retryAfterMs?: number; cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = "ApiError";
    this.failure = failure;
    this.status = more.status ?? 0;
    this.retryAfterMs = more.retryAfterMs ?? 0;
  }
}

export function isApiError(error: unknown, ...failures: readonly ApiFailure[]): error is ApiError {
  return error instanceof ApiError && (failures.length === 0 || failures.includes(error.failure));
}

/** From a status code and the `Status` object that Kubernetes sends with it (also as an ERROR event of a watch). */
export function apiErrorOf(what: string, code: number, status: unknown, retryAfterMs = 0): ApiError {
  const body = isObject(status) ? status : {};
  const text = stringOf(body["message"]) || `status ${code}`;
  return new ApiError(failureOf(code, stringOf(body["reason"])), `${what}: ${text}`, { status: code, retryAfterMs });
}

const byCode: ReadonlyMap<number, ApiFailure> = new Map([
  [401, "unauthorized"],
  [403, "forbidden"],
  [404, "not-found"],
  [410, "gone"],
  [400, "invalid"],
  [415, "invalid"],
  [422, "invalid"],
  [429, "throttled"],
]);

function failureOf(code: number, reason: string): ApiFailure {
  if (code === 409) return reason === "AlreadyExists" ? "already-exists" : "conflict";
  return byCode.get(code) ?? "server-error";
}
