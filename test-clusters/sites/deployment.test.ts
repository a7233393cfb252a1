import { describe, expect, it } from "vitest";
import { workload } from "../stage/workload.ts";
import { replicaCount, replicasOf } from "./deployment.ts";
import type { Manifest } from "../stage/fleet-under-test.ts";

const manifests = workload({ namespace: "shop", name: "cart", image: "any", replicas: 2, tcp: "echo" });
const ofKind = (kind: string): readonly Manifest[] => manifests.filter((each) => each["kind"] === kind);
const addresses = ["127.32.0.1", "127.32.0.2"];

describe("a Deployment on a site", () => {
  const [deployment = {}] = ofKind("Deployment");

  it("becomes a workload per replica, with the Service's ports and the account of the pods", () => {
    const replicas = replicasOf({ deployment, services: ofKind("Service"), addresses });
    expect(replicaCount(deployment)).toBe(2);
    expect(replicas.map(({ name }) => name)).toEqual(["cart-0", "cart-1"]);
    expect(replicas[1]?.workload).toMatchObject({
      kind: "Workload",
      metadata: { namespace: "shop", name: "cart-1", labels: { app: "cart" } },
      spec: {
        serviceAccount: "cart",
        ports: [
          { name: "web", port: 8080, appProtocol: "http", application: "127.32.0.2:8080" },
          { name: "raw", port: 9000, appProtocol: "tcp", application: "127.32.0.2:9000" },
        ],
        healthCheck: { path: "/healthz", port: 8080, address: "127.32.0.2" },
      },
    });
    expect(replicas[1]?.env).toMatchObject({ POD_NAME: "cart-1", SHOP_SERVICE: "cart", SHOP_TCP_PORT: "9000" });
  });

  it("has no port of a Service that does not select it", () => {
    const services = [{ ...ofKind("Service")[0], spec: { selector: { app: "other" }, ports: [{ port: 1 }] } }];
    const [replica] = replicasOf({ deployment, services, addresses });
    expect(replica?.workload).toMatchObject({ spec: { ports: [] } });
  });

  it("is no workload when its pods stay out of the mesh", () => {
    const annotations = { "isthmus.dev/sidecar-injection": "disabled" };
    const [outside = {}] = workload({ namespace: "shop", name: "cart", image: "any", annotations }).slice(1, 2);
    expect(replicasOf({ deployment: outside, services: [], addresses })[0]?.workload).toBeUndefined();
  });
});
