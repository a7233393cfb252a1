// The ADS server over real gRPC connections: who is let in, and when a stream ends.
import { ServerCredentials, status } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock, type Clock } from "../../shared/clock.ts";
import { anIdentity, classKey } from "./testing/agent.ts";
import type { ClientOptions, TestClient } from "./testing/client.ts";
import { aMesh, aSnapshot } from "./testing/resources.ts";
import { Serving, until } from "./testing/serving.ts";

const ads = new Serving();
afterEach(() => ads.end());

describe("a stream", () => {
  it("waits until the agent has complete data", async () => {
    await ads.start(ServerCredentials.createInsecure());
    const envoy = ads.client();
    envoy.send("cds");
    await until("the stream is known", () => ads.agent.server.counters().streams === 1);
    ads.agent.server.publish(classKey, aSnapshot(aMesh(["cart"])));
    expect(await envoy.silent(50)).toBe(true);
    ads.agent.server.open();
    expect((await envoy.next()).names).toEqual(["cart"]);
  });

  it.each<readonly [string, ClientOptions, number]>([
    ["without a token", { token: "" }, status.UNAUTHENTICATED],
    ["with a wrong token", { token: "forged" }, status.UNAUTHENTICATED],
    ["of another pod", { node: "sidecar~pay-1.shop" }, status.PERMISSION_DENIED],
    ["of another namespace", { node: "sidecar~front-1.bank" }, status.PERMISSION_DENIED],
    ["of no form that we know", { node: "front-1" }, status.PERMISSION_DENIED],
  ])("is refused %s", async (_what, options, code) => {
    await ads.serve(aMesh(["cart"]));
    const envoy = ads.client(options);
    envoy.send("cds");
    expect((await envoy.ended()).code).toBe(code);
    expect(envoy.received).toEqual([]);
    expect(ads.agent.server.counters().streams).toBe(0);
  });

  it("is told to come back when the token cannot be checked", async () => {
    await ads.serve(aMesh(["cart"]), { authenticate: () => Promise.reject(new Error("API server away")) });
    const envoy = ads.client();
    envoy.send("cds");
    expect((await envoy.ended()).code).toBe(status.UNAVAILABLE);
  });

  it("ends before its token expires, without an error, and its class is let go", async () => {
    const sleeps: number[] = [];
    let expire = () => undefined as unknown;
    const clock: Clock = {
      now: () => anIdentity.expiresAtMs - 1_000_000,
      sleep: (ms, signal) => {
        if (ms === 0) return systemClock.sleep(0, signal);
        sleeps.push(ms);
        return new Promise((resolve) => (expire = () => resolve()));
      },
    };
    await ads.serve(aMesh(["cart"]), { clock });
    const envoy = ads.client();
    envoy.send("cds");
    await envoy.next();
    expect(sleeps).toEqual([900_000]);
    expire();
    expect((await envoy.ended()).code).toBe(status.OK);
    await until("the class is let go", () => ads.agent.wanted.length === 2);
    expect(ads.agent.wanted).toEqual(["+all", "-all"]);
  });

  it("ends when its pod is deleted", async () => {
    await ads.serve(aMesh(["cart"]));
    const envoy = ads.client();
    envoy.send("cds");
    await envoy.next();
    ads.agent.server.endPod("another");
    expect(ads.agent.server.counters().streams).toBe(1);
    ads.agent.server.endPod(anIdentity.podUid);
    expect((await envoy.ended()).code).toBe(status.OK);
    expect(ads.agent.server.counters().streams).toBe(0);
  });

  it("ends at bytes that are no request, and no other stream notices", async () => {
    await ads.serve(aMesh(["cart"]));
    const fine = ads.client();
    fine.send("cds");
    fine.ack(await fine.next());
    const broken = ads.client();
    broken.send("cds", { node: { id: "sidecar~front-1.shop" } });
    await broken.next();
    broken.sendRaw(Buffer.from([0x0a, 0xff]));
    expect((await broken.ended()).code).toBe(status.INVALID_ARGUMENT);
    ads.agent.server.publish(classKey, aSnapshot(aMesh(["cart", "pay"])));
    expect((await fine.next()).names).toEqual(["pay"]);
  });
});

describe("an agent that stops", () => {
  it("ends its streams one after the other", async () => {
    const slept: number[] = [];
    const clock: Clock = {
      now: () => Date.now(),
      sleep: (ms, signal) => {
        if (ms > 10_000) return new Promise(() => undefined);
        slept.push(ms);
        return systemClock.sleep(Math.min(ms, 5), signal);
      },
    };
    await ads.serve(aMesh(["cart"]), { clock });
    const envoys = [ads.client(), ads.client()];
    for (const envoy of envoys) {
      envoy.send("cds");
      await envoy.next();
    }
    const stopping = ads.agent.server.close(1_000);
    for (const envoy of envoys) expect((await envoy.ended()).code).toBe(status.OK);
    await stopping;
    expect(slept).toEqual([500, 500]);
  });

  it("takes nobody back: whoever was ended goes to another replica", async () => {
    const newcomers: TestClient[] = [];
    const clock: Clock = {
      now: () => Date.now(),
      sleep: async (ms) => {
        if (ms > 10_000) return new Promise(() => undefined);
        const newcomer = ads.client();
        newcomers.push(newcomer);
        newcomer.send("cds");
        await Promise.race([newcomer.next().catch(() => undefined), newcomer.ended()]);
      },
    };
    await ads.serve(aMesh(["cart"]), { clock });
    const envoy = ads.client();
    envoy.send("cds");
    await envoy.next();
    await ads.agent.server.close(1_000);
    expect((await envoy.ended()).code).toBe(status.OK);
    expect(await Promise.all(newcomers.map(async (one) => (await one.ended()).code))).toEqual([status.UNAVAILABLE]);
  });
});
