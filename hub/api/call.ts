// What every gRPC handler shares: an async function becomes a unary handler, and a failure becomes a status a client can
// act on. An unexpected failure is logged here with its cause and told to the client without it.
import { status, type handleUnaryCall, type ServerUnaryCall, type ServiceError } from "@grpc/grpc-js";
import { fleetError } from "../../shared/grpc/fleet-status.ts";
import type { Log } from "../../shared/log.ts";
import type { Problem } from "../../shared/result.ts";
import { isRedisFailure } from "../store/redis-connection.ts";

export function unary<Request, Reply>(
  log: Log,
  answer: (call: ServerUnaryCall<Request, Reply>) => Promise<Reply>,
): handleUnaryCall<Request, Reply> {
  return (call, callback) => {
    answer(call).then(
      (reply) => callback(null, reply),
      (error: unknown) => callback(toServiceError(error, log)),
    );
  };
}

export function toServiceError(error: unknown, log: Log): ServiceError {
  if (isServiceError(error)) return error;
  if (isRedisFailure(error)) return registryUnavailable();
  log.error("a call failed unexpectedly", {}, error);
  return fleetError({ status: status.INTERNAL, code: "ISTHMUS_HUB_INTERNAL", message: "the hub failed; see its log" });
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "metadata" in error && "details" in error;
}

export function registryUnavailable(): ServiceError {
  return fleetError({
    status: status.UNAVAILABLE,
    code: "ISTHMUS_REGISTRY_UNAVAILABLE",
    message: "the hub cannot reach its Redis; nothing was lost",
    hint: "the agent tries again by itself; look at the hub's log if it lasts",
  });
}

/** What a checker refused, as a status: the client sent it, so trying again is of no use. */
export function refusedInput(problems: readonly Problem[]): ServiceError {
  const [first] = problems;
  return fleetError({
    status: status.INVALID_ARGUMENT,
    code: first?.code ?? "ISTHMUS_INPUT",
    message: problems.map(({ field, message }) => (field === undefined ? message : `${field}: ${message}`)).join("; "),
  });
}
