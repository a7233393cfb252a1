import { describe, expect, it, test } from "vitest";
import { answerConversion } from "./conversion-review.ts";

const split = (version: string, weight: unknown) => ({
  apiVersion: `split.smi-spec.io/${version}`,
  kind: "TrafficSplit",
  metadata: { namespace: "shop", name: "cart" },
  spec: { service: "cart", backends: [{ service: "a", weight }] },
});

function review(request: object): string {
  return JSON.stringify({ apiVersion: "apiextensions.k8s.io/v1", kind: "ConversionReview", request });
}
const desiredAPIVersion = "split.smi-spec.io/v1alpha4";

describe("a ConversionReview", () => {
  it("is answered with every object, in order, under its uid", () => {
    const objects = [split("v1alpha1", "2"), split("v1alpha4", 7), split("v1alpha2", 3)];
    const answer = answerConversion(review({ uid: "u1", desiredAPIVersion, objects }));
    expect(answer.ok && answer.value.response).toMatchObject({
      uid: "u1",
      result: { status: "Success" },
      convertedObjects: [2, 7, 3].map((weight) => ({
        apiVersion: desiredAPIVersion,
        spec: { backends: [{ service: "a", weight }] },
      })),
    });
  });

  it("fails whole, with the field and the reason, when one object cannot be converted", () => {
    const objects = [split("v1alpha1", "2"), split("v1alpha1", "ten")];
    const answer = answerConversion(review({ uid: "u1", desiredAPIVersion, objects }));
    expect(answer.ok && answer.value.response).toEqual({
      uid: "u1",
      result: {
        status: "Failed",
        message: "isthmus: spec.backends[0].weight is no quantity such as 1, 0.5 or 500m (ISTHMUS_SMI_VERSION)",
      },
      convertedObjects: [],
    });
  });

  test.each<[string, string]>([
    ["of no object", review({ uid: "u", desiredAPIVersion, objects: [7] })],
    ["of another kind", review({ uid: "u", desiredAPIVersion, objects: [{ apiVersion: "v1", kind: "Secret" }] })],
    ["to another kind's version", review({ uid: "u", desiredAPIVersion: "v1", objects: [split("v1alpha1", 1)] })],
  ])("%s fails", (_what, text) => {
    const answer = answerConversion(text);
    expect(answer.ok && answer.value.response.result.status).toBe("Failed");
  });

  test.each<[string, string]>([
    ["no JSON", "{"],
    ["an admission", JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request: {} })],
    ["no request", JSON.stringify({ apiVersion: "apiextensions.k8s.io/v1", kind: "ConversionReview" })],
    ["no objects", review({ uid: "u", desiredAPIVersion })],
    ["no uid", review({ desiredAPIVersion, objects: [] })],
  ])("that is %s is no review", (_what, text) => {
    expect(answerConversion(text).ok).toBe(false);
  });

  it("of an object as large as etcd takes is answered at once, whatever it holds", () => {
    const matches = Array.from({ length: 30_000 }, (_, i) => ({ name: `m${i}`, headers: { x: "(a+)+$" } }));
    const object = {
      apiVersion: "specs.smi-spec.io/v1alpha2",
      kind: "HTTPRouteGroup",
      metadata: { name: "x" },
      matches,
    };
    const before = process.threadCpuUsage(); // not the clock: a busy machine may stop this process for a while
    const answer = answerConversion(
      review({ uid: "u", desiredAPIVersion: "specs.smi-spec.io/v1alpha1", objects: [object] }),
    );
    expect(answer.ok && answer.value.response.result.status).toBe("Success");
    const { user, system } = process.threadCpuUsage(before);
    expect((user + system) / 1000).toBeLessThan(5_000);
  });
});
