// ConversionReview v1 in and out: an API server asks for SMI objects in another version than the stored one. All of them or
// none, as the protocol wants; a review that cannot be answered in its own terms is a bad request.
// https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/
import type { Problem, Result } from "../../shared/result.ts";
import { isObject, type JsonObject } from "../kube/json.ts";
import { convert } from "../smi/convert.ts";
import { readReview } from "./review.ts";

interface ConversionRequest {
  readonly uid: string;
  readonly desiredApiVersion: string;
  readonly objects: readonly unknown[];
}

export interface ConversionAnswer {
  readonly apiVersion: "apiextensions.k8s.io/v1";
  readonly kind: "ConversionReview";
  readonly response: {
    readonly uid: string;
    readonly result: { readonly status: "Success" } | { readonly status: "Failed"; readonly message: string };
    readonly convertedObjects: readonly JsonObject[];
  };
}

/** A list is asked for in pages; this is far beyond any. */
const MAX_OBJECTS = 100_000;

export function answerConversion(text: string): Result<ConversionAnswer> {
  const request = parseRequest(text);
  return request.ok ? { ok: true, value: answerRequest(request.value) } : request;
}

function parseRequest(text: string): Result<ConversionRequest> {
  return readReview(text, { apiVersion: "apiextensions.k8s.io/v1", kind: "ConversionReview" }, (request) => ({
    desiredApiVersion: request.at("desiredAPIVersion").text({ maxLength: 128 }),
    objects: request
      .at("objects")
      .list({ max: MAX_OBJECTS, required: true })
      .map(({ raw }) => raw),
  }));
}

function answerRequest({ uid, desiredApiVersion, objects }: ConversionRequest): ConversionAnswer {
  const converted: JsonObject[] = [];
  for (const object of objects) {
    const result = convert(isObject(object) ? object : {}, desiredApiVersion);
    if (!result.ok) return answer(uid, { status: "Failed", message: sentence(result.error) }, []);
    converted.push(result.value);
  }
  return answer(uid, { status: "Success" }, converted);
}

/** What `kubectl apply` prints of an object that cannot be stored. */
function sentence(problems: readonly Problem[]): string {
  const parts = problems.map(
    ({ code, field, message }) => `${field === undefined ? "" : `${field} `}${message} (${code})`,
  );
  return `isthmus: ${parts.join("; ")}`;
}

function answer(
  uid: string,
  result: ConversionAnswer["response"]["result"],
  convertedObjects: readonly JsonObject[],
): ConversionAnswer {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "ConversionReview",
    response: { uid, result, convertedObjects },
  };
}
