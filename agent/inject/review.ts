// What every review that an API server sends to a webhook has: one apiVersion and kind, and a request with the uid of its answer. Strict,
// for a review that cannot be answered in its protocol's own terms is a bad request, never an internal error.
import { rejected, type Result } from "../../shared/result.ts";
import { readObject, type FieldReader } from "../kube/parse/field-reader.ts";

export interface ReviewKind {
  readonly apiVersion: string;
  readonly kind: string;
}

/** `read` takes what this kind of review asks out of its `request`. */
export function readReview<T extends object>(
  text: string,
  { apiVersion, kind }: ReviewKind,
  read: (request: FieldReader) => T,
): Result<T & { readonly uid: string }> {
  let review: unknown;
  try {
    review = JSON.parse(text);
  } catch {
    return rejected("ISTHMUS_REVIEW", "the body is not JSON");
  }
  return readObject(review, (root) => {
    for (const [name, wanted] of Object.entries({ apiVersion, kind }))
      if (root.at(name).raw !== wanted) root.at(name).report(`must be ${wanted}`);
    const request = root.at("request").map();
    return { uid: request.at("uid").text({ maxLength: 128 }), ...read(request) };
  });
}
