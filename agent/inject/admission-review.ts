// AdmissionReview v1 in and out.
import type { Problem, Result } from "../../shared/result.ts";
import type { PatchOperation } from "./json-patch.ts";
import { readReview } from "./review.ts";

export interface AdmissionRequest {
  readonly uid: string;
  readonly kind: string;
  readonly namespace: string;
  readonly operation: string;
  readonly object: unknown;
}

export function parseReview(text: string): Result<AdmissionRequest> {
  return readReview(text, { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview" }, (request) => ({
    kind: request.at("kind").at("kind").text({ otherwise: "" }),
    namespace: request.at("namespace").text({ otherwise: "", maxLength: 63 }),
    operation: request.at("operation").text({ otherwise: "" }),
    object: request.at("object").raw,
  }));
}

export interface AdmissionAnswer {
  readonly apiVersion: "admission.k8s.io/v1";
  readonly kind: "AdmissionReview";
  readonly response: Readonly<Record<string, unknown>>;
}

function answer(uid: string, response: Readonly<Record<string, unknown>>): AdmissionAnswer {
  return { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: { uid, ...response } };
}

/** An empty patch must be left out: the API server takes patchType and patch together or not at all. */
export function allowed(
  uid: string,
  patch: readonly PatchOperation[],
  warnings: readonly string[] = [],
): AdmissionAnswer {
  const patched =
    patch.length === 0
      ? {}
      : { patchType: "JSONPatch", patch: Buffer.from(JSON.stringify(patch), "utf8").toString("base64") };
  return answer(uid, { allowed: true, ...patched, ...(warnings.length === 0 ? {} : { warnings }) });
}

function sentence({ code, field, message }: Problem): string {
  return `${code}: ${field === undefined ? "" : `${field}: `}${message}`;
}

/** What `kubectl apply` prints, and what the ReplicaSet's event says. */
export function denied(uid: string, problems: readonly Problem[]): AdmissionAnswer {
  const message = `isthmus: ${problems.map(sentence).join("; ")}`;
  return answer(uid, { allowed: false, status: { code: 422, reason: "Invalid", message } });
}
