import { describe, expect, test } from "vitest";
import { clusterOf, parseClientCertHeader } from "./caller-identity.ts";

describe("the caller named by x-forwarded-client-cert", () => {
  test.each([
    [
      "a caller of another cluster",
      "By=spiffe://west.acme.mesh/ns/shop/sa/catalog;Hash=ab12;URI=spiffe://east.acme.mesh/ns/shop/sa/storefront",
      { caller: "spiffe://east.acme.mesh/ns/shop/sa/storefront", self: "spiffe://west.acme.mesh/ns/shop/sa/catalog" },
    ],
    ["no sidecar", undefined, { caller: undefined, self: undefined }],
    [
      "separators inside a quoted subject",
      'By=spiffe://a.b.c/x;Subject="CN=one,O=two;three";URI=spiffe://d.b.c/y',
      { caller: "spiffe://d.b.c/y", self: "spiffe://a.b.c/x" },
    ],
    [
      "an element of a proxy before ours is not believed",
      "By=spiffe://x.y.z/a;URI=spiffe://evil.y.z/a,By=spiffe://x.y.z/a;URI=spiffe://good.y.z/a",
      { caller: "spiffe://good.y.z/a", self: "spiffe://x.y.z/a" },
    ],
  ])("%s", (_name, header, expected) => {
    expect(parseClientCertHeader(header)).toEqual(expected);
  });

  test("the cluster is the first label of the trust domain", () => {
    expect(clusterOf("spiffe://west.acme.mesh/ns/shop/sa/catalog")).toBe("west");
    expect(clusterOf("spiffe://west/ns/shop/sa/catalog")).toBeUndefined();
    expect(clusterOf(undefined)).toBeUndefined();
  });
});
