// Requests as Envoy writes them, read by hand.
import { describe, expect, it } from "vitest";
import { encodeJson } from "../../shared/wire.ts";
import { typeUrls } from "../xds/resource.ts";
import { decodeRequest } from "./messages.ts";

describe("requests", () => {
  it("are read field by field, unknown ones skipped", () => {
    const request = {
      node: { id: "sidecar~a.b", cluster: "c", metadata: { x: 1 }, locality: { zone: "z" } },
      type_url: typeUrls.eds,
      resource_names_subscribe: ["a", "b"],
      resource_names_unsubscribe: ["c"],
      initial_resource_versions: { a: "1", b: "2" },
      response_nonce: "n",
      error_detail: { code: 3, message: "bad" },
    };
    expect(decodeRequest("delta", encodeJson("envoy.service.discovery.v3.DeltaDiscoveryRequest", request))).toEqual({
      type: "eds",
      typeUrl: typeUrls.eds,
      nodeId: "sidecar~a.b",
      nonce: "n",
      errorText: "bad",
      names: [],
      subscribe: ["a", "b"],
      unsubscribe: ["c"],
      initialVersions: new Map([
        ["a", "1"],
        ["b", "2"],
      ]),
    });
  });

  it("of a type that is not served are recognised as such", () => {
    const bytes = encodeJson("envoy.service.discovery.v3.DiscoveryRequest", {
      type_url: "type.googleapis.com/x",
      resource_names: ["a"],
    });
    expect(decodeRequest("sotw", bytes)).toMatchObject({ type: undefined, names: ["a"], errorText: undefined });
  });
});
