// Which class a stream belongs to, and what all streams of a class have in common: its resources and what was refused.
import { afterEach, describe, expect, it } from "vitest";
import { ok } from "../../shared/result.ts";
import { anIdentity, classKey } from "./testing/agent.ts";
import { aListener, aMesh, aSnapshot, type Lists } from "./testing/resources.ts";
import { Serving, until } from "./testing/serving.ts";

const ads = new Serving();
afterEach(() => ads.end());

describe("a refused resource", () => {
  const good = aMesh(["cart"]);
  const bad: Lists = { ...good, lds: [aListener("outbound", "routes", "bad"), aListener("second", "routes")] };

  it("stays at its last good version for every stream of the class, new ones too, until it changes", async () => {
    await ads.serve(good);
    const envoy = ads.client();
    envoy.send("lds");
    envoy.ack(await envoy.next());
    ads.agent.server.publish(classKey, aSnapshot(bad));
    const poisoned = await envoy.next();
    expect(poisoned.names).toEqual(["outbound", "second"]);
    envoy.nack(poisoned, "Error adding/updating listener(s) outbound: no");
    const rest = await envoy.next();
    expect(rest.names).toEqual(["second"]);
    envoy.ack(rest);
    const alone = await envoy.next();
    expect(alone.names).toEqual(["outbound"]);
    envoy.nack(alone, "Error adding/updating listener(s) outbound: no");
    expect(await envoy.silent(50)).toBe(true);
    expect(ads.agent.server.counters().quarantined).toBe(1);
    expect(ads.agent.server.refusals()).toMatchObject([{ type: "lds", name: "outbound", nodeId: undefined }]);

    const newcomer = ads.client();
    newcomer.send("lds");
    const { message } = await newcomer.next();
    expect(JSON.stringify(message)).not.toContain('"stat_prefix":"bad"');
    expect(JSON.stringify(message)).toContain('"stat_prefix":"outbound"');

    ads.agent.server.publish(classKey, aSnapshot({ ...bad, lds: [aListener("outbound", "routes", "mended")] }));
    expect((await envoy.next()).names).toEqual(["outbound"]);
    expect(ads.agent.server.counters().quarantined).toBe(0);
  });

  it("is kept from one stream alone when others of the class accept it", async () => {
    await ads.serve(good);
    const [one, other] = [ads.client(), ads.client()];
    for (const envoy of [one, other]) {
      envoy.send("lds");
      envoy.ack(await envoy.next());
    }
    ads.agent.server.publish(classKey, aSnapshot({ ...good, lds: [aListener("outbound", "routes", "odd")] }));
    one.ack(await one.next());
    await until("the acceptance counts", () => ads.agent.acks.length === 3);
    other.nack(await other.next(), "outbound: not with me");
    await until("the refusal counts", () => ads.agent.nacks.length === 1);
    expect(ads.agent.server.counters().quarantined).toBe(0);
    expect(await other.silent(50)).toBe(true);
    expect(ads.agent.server.refusals()).toMatchObject([
      { name: "outbound", errorText: "outbound: not with me", nodeId: "sidecar~front-1.shop" },
    ]);
  });
});

describe("a stream", () => {
  it("waits for its class, and moves to another when its pod changes", async () => {
    let key: string | undefined;
    await ads.serve(undefined, {
      classify: () => (key === undefined ? undefined : { key, proxy: { kind: "gateway" } }),
    });
    const envoy = ads.client();
    envoy.send("cds");
    await until("the stream is known", () => ads.agent.server.counters().streams === 1);
    key = "first";
    ads.agent.server.reclassify();
    ads.agent.server.publish("first", aSnapshot(aMesh(["cart"])));
    envoy.ack(await envoy.next());
    key = "second";
    ads.agent.server.reclassify();
    ads.agent.server.publish("second", aSnapshot(aMesh(["cart", "pay"])));
    expect((await envoy.next()).names).toEqual(["pay"]);
    expect(ads.agent.wanted).toEqual(["+first", "+second", "-first"]);
  });
});

it("lets a token's owner be any account: what it may see is its class", async () => {
  await ads.serve(aMesh(["cart"]), {
    authenticate: () => Promise.resolve(ok({ ...anIdentity, podName: "pay-1", serviceAccount: "pay" })),
    classify: (peer) => ({ key: peer.serviceAccount, proxy: { kind: "gateway" } }),
  });
  const envoy = ads.client({ node: "sidecar~pay-1.shop" });
  envoy.send("rds", { resource_names_subscribe: ["routes"] });
  expect((await envoy.next()).names).toEqual(["routes"]);
  expect(ads.agent.server.classes().map((one) => one.key)).toEqual(["pay"]);
});
