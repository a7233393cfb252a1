// The server's own certificate, as a client on the wire sees it.
import { credentials } from "@grpc/grpc-js";
import { connect as tlsConnect, type TLSSocket } from "node:tls";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
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
    const identity = () => ({ ...fleet.svid("east", "isthmus-system", "isthmus-agent"), root: "a" });
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
      expect(() => tls.replace({ chainPem: "nonsense", keyPem: "nonsense", root: "a" })).toThrow();
      expect(await serial()).not.toBe("");
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});

describe("which root a client verifies by", () => {
  /** Two roots of one fleet; the client's trust file holds `trusted` of them. */
  async function port() {
    const dir = mkdtempSync(join(tmpdir(), "isthmus-tls-"));
    const [old, fresh] = ["old", "new"].map((root) => {
      const folder = join(dir, root);
      mkdirSync(folder);
      return { root, fleet: testFleet(folder, "acme.mesh") };
    });
    const identityOf = ({ root, fleet }: NonNullable<typeof old>) => {
      return { ...fleet.svid("east", "isthmus-system", "isthmus-agent"), root };
    };
    const tls = createSwappableCredentials(identityOf(old!));
    await ads.start(tls.credentials, { onClass: () => undefined });
    ads.agent.server.open();
    /**
     * Connects as Envoy does, with a session of before if it has one; `address:port`, or why not. A TLS 1.3 server offers a session when
     * it has finished the handshake: so it knows the connection by then.
     */
    const connect = (pem: string, session?: Buffer) =>
      new Promise<Connected>((resolve) => {
        const options = { host: "127.0.0.1", port: ads.agent.port, servername: "agent.test", ALPNProtocols: ["h2"] };
        const socket = tlsConnect({ ...options, ca: pem, session, checkServerIdentity: () => undefined });
        socket.resume(); // whoever does not read does not see the end either
        socket.once("session", (offered) => {
          const peer = `127.0.0.1:${socket.localPort}`;
          resolve({ peer, socket, resumed: socket.isSessionReused(), session: offered });
        });
        socket.on("error", (error: Error) => resolve({ failure: error.message, socket }));
      });
    const end = () => rmSync(dir, { recursive: true, force: true });
    return {
      tls,
      connect,
      end,
      old: { ...old!, identity: identityOf(old!) },
      fresh: { ...fresh!, identity: identityOf(fresh!) },
    };
  }

  interface Connected {
    readonly socket: TLSSocket;
    readonly peer?: string;
    readonly failure?: string;
    readonly resumed?: boolean;
    readonly session?: Buffer | undefined;
  }

  it("is known of each connection, from the handshake that it finished", async () => {
    const { tls, connect, end, old, fresh } = await port();
    const both = old.fleet.rootsPem + fresh.fleet.rootsPem;
    const first = await connect(both);
    expect(tls.verifiedBy(first.peer!)).toBe("old");
    tls.replace(fresh.identity, old.identity);
    const second = await connect(both);
    expect([tls.verifiedBy(first.peer!), tls.verifiedBy(second.peer!)]).toEqual(["old", "new"]);
    tls.disconnect(first.peer!);
    await new Promise<void>((resolve) => first.socket.once("close", () => resolve()));
    expect(first.socket.destroyed).toBe(true);
    second.socket.destroy();
    end();
  });

  it("is never told by a resumed session, which shows no certificate", async () => {
    const { tls, connect, end, old, fresh } = await port();
    const first = await connect(old.fleet.rootsPem);
    // it is offered one (TLS 1.3 always does), and finds that the server has forgotten it
    const known = await connect(old.fleet.rootsPem, first.session);
    expect(known.resumed).toBe(false);
    known.socket.destroy();
    tls.replace(fresh.identity, old.identity);
    const again = await connect(old.fleet.rootsPem, first.session);
    expect(again.failure).toBeDefined();
    first.socket.destroy();
    end();
  });

  it("a client that knows the older root alone is refused once, then served by the older certificate", async () => {
    const { tls, connect, end, old, fresh } = await port();
    tls.replace(fresh.identity, old.identity);
    expect((await connect(old.fleet.rootsPem)).failure).toBeDefined();
    const again = await connect(old.fleet.rootsPem);
    expect(tls.verifiedBy(again.peer!)).toBe("old");
    again.socket.destroy();
    end();
  });

  it("without an older certificate there is nothing to fall back on", async () => {
    const { tls, connect, end, old, fresh } = await port();
    tls.replace(fresh.identity);
    expect((await connect(old.fleet.rootsPem)).failure).toBeDefined();
    expect((await connect(old.fleet.rootsPem)).failure).toBeDefined();
    end();
  });
});
