// Calls the operator's API of a running hub over its Unix socket. Called by the CLI; a hub that does not answer becomes one
// clear line.
import { request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { UserError } from "../shared/errors.ts";

export interface OperatorCall {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body?: unknown;
  /** Default: ten seconds. Longer where the hub asks somebody else first. */
  readonly timeoutMs?: number;
}

const defaultTimeoutMs = 10_000;
export const operatorSocketName = "hub.sock";

export async function askOperator(dataDir: string, call: OperatorCall): Promise<Record<string, unknown>> {
  const { status, body } = await send(join(dataDir, operatorSocketName), call);
  const answer = JSON.parse(body) as Record<string, unknown>;
  if (status < 300) return answer;
  const { code, message, hint } = (answer["error"] ?? {}) as { code?: string; message?: string; hint?: string };
  throw new UserError(
    code ?? "ISTHMUS_API",
    message ?? `the hub answered ${status}`,
    hint === undefined ? {} : { hint },
  );
}

function send(socketPath: string, call: OperatorCall): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const { method, path, body, timeoutMs = defaultTimeoutMs } = call;
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    // no agent: a kept connection is ended by the hub just as the next call may take it
    const options = { socketPath, method, path, headers, timeout: timeoutMs, agent: false };
    const outgoing = request(options, (response) => {
      text(response).then((answer) => resolve({ status: response.statusCode ?? 500, body: answer }), reject);
    });
    outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
    outgoing.on("error", (cause: NodeJS.ErrnoException) => reject(unreachable(socketPath, cause)));
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function unreachable(socketPath: string, cause: NodeJS.ErrnoException): UserError {
  const hint =
    cause.code === "EACCES"
      ? "run this as the hub's user"
      : "start the hub with: isthmus hub --data DIR; or name its data folder with --data";
  return new UserError("ISTHMUS_HUB_NOT_RUNNING", `no hub answers on ${socketPath}`, { cause, hint });
}
