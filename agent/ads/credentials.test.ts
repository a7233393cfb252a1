// The server's own certificate, as a client on the wire sees it.
import { credentials } from "@grpc/grpc-js";
import { connect as tlsConnect } from "node:tls";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { testFleet } from "../xds/testing/certificates.ts";
import { createSwappableCredentials } from "./credentials.ts";
import { classKey } from "./testing/agent.ts";
import { aMesh, aSnapshot } from "./testing/resources.ts";
import { Serving } from "./testing/serving.ts";

const ads = new Serving();
afterEach(() => ads.end());

describe("the serving certificate", () => {
  it("is replaced for new connections while running streams go on", async () => {
    const dir = mkdtempSync(join(tmpdir(), "isthmus-tls-"));
    const fleet = testFleet(dir, "acme.mesh");
    const identity = () => fleet.svid("east", "isthmus-system", "isthmus-agent");
    const tls = createSwappableCredentials(identity());
    await ads.start(tls.credentials, {
      onClass: () => setImmediate(() => ads.agent.server.publish(classKey, aSnapshot(aMesh(["cart"])))),
    });
    ads.agent.server.open();
    const roots = Buffer.from(fleet.rootsPem);
    const trusting = credentials.createSsl(roots, null, null, { checkServerIdentity: () => undefined });
    const serial = () =>
      new Promise<string>((resolve, reject) => {
        const socket = tlsConnect(
          {
            host: "127.0.0.1",
            port: ads.agent.port,
            ca: roots,
            ALPNProtocols: ["h2"],
            checkServerIdentity: () => undefined,
          },
          () => {
            resolve(socket.getPeerX509Certificate()?.serialNumber ?? "");
            socket.destroy();
          },
        ).on("error", reject);
      });
    try {
      const envoy = ads.client({ tls: trusting });
      envoy.send("cds");
      envoy.ack(await envoy.next());
      const before = await serial();
      tls.replace(identity());
      expect(await serial()).not.toBe(before);
      ads.agent.server.publish(classKey, aSnapshot(aMesh(["cart", "pay"])));
      expect((await envoy.next()).names).toEqual(["pay"]);
      expect(() => tls.replace({ chainPem: "nonsense", keyPem: "nonsense" })).toThrow();
      expect(await serial()).not.toBe("");
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
