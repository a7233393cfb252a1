// What a stream is sent, over real gRPC connections: in both protocols, in which order, and at whose pace.
import { afterEach, describe, expect, it } from "vitest";
import { classKey } from "./testing/agent.ts";
import { aCluster, aMesh, anAssignment, aSnapshot } from "./testing/resources.ts";
import { Serving, until } from "./testing/serving.ts";

const ads = new Serving();
afterEach(() => ads.end());

describe("a delta stream", () => {
  it("gets clusters, their endpoints, and only what changes afterwards", async () => {
    await ads.serve(aMesh(["cart", "pay"]));
    const envoy = ads.client();
    envoy.send("cds");
    const clusters = await envoy.next();
    expect(clusters).toMatchObject({ type: "cds", names: ["cart", "pay"], removed: [] });
    envoy.ack(clusters);
    envoy.send("eds", { resource_names_subscribe: ["cart", "pay"] });
    const endpoints = await envoy.next();
    expect(endpoints.names).toEqual(["cart", "pay"]);
    envoy.ack(endpoints);
    const changed = { ...aMesh(["cart", "pay"]), eds: [anAssignment("cart", [80]), anAssignment("pay", [81, 82])] };
    ads.agent.server.publish(classKey, aSnapshot(changed));
    expect(await envoy.next()).toMatchObject({ type: "eds", names: ["pay"], removed: [] });
  });

  it("gets the endpoints of a cluster that is sent, changed or not", async () => {
    await ads.serve(aMesh(["cart"]));
    const envoy = ads.client();
    envoy.send("cds");
    envoy.ack(await envoy.next());
    envoy.send("eds", { resource_names_subscribe: ["cart"] });
    envoy.ack(await envoy.next());
    ads.agent.server.publish(classKey, aSnapshot(aMesh(["cart"], "3s")));
    expect(await envoy.next()).toMatchObject({ type: "cds", names: ["cart"] });
    expect(await envoy.next()).toMatchObject({ type: "eds", names: ["cart"] });
  });

  it("sends routes to a new cluster after the cluster is acknowledged, and removes a cluster after its last route", async () => {
    await ads.serve(aMesh(["cart"]));
    const envoy = ads.client();
    envoy.send("cds");
    envoy.ack(await envoy.next());
    envoy.send("rds", { resource_names_subscribe: ["routes"] });
    envoy.ack(await envoy.next());
    ads.agent.server.publish(classKey, aSnapshot(aMesh(["pay"])));
    const added = await envoy.next();
    expect(added).toMatchObject({ type: "cds", names: ["pay"], removed: [] });
    expect(await envoy.silent(50)).toBe(true);
    envoy.ack(added);
    const routed = await envoy.next();
    expect(routed).toMatchObject({ type: "rds", names: ["routes"] });
    expect(await envoy.silent(50)).toBe(true);
    envoy.ack(routed);
    expect(await envoy.next()).toMatchObject({ type: "cds", names: [], removed: ["cart"] });
  });

  it("is told that a name does not exist", async () => {
    await ads.serve(aMesh(["cart"]));
    const envoy = ads.client();
    envoy.send("eds", { resource_names_subscribe: ["gone"] });
    expect(await envoy.next()).toMatchObject({ type: "eds", names: [], removed: ["gone"] });
  });

  it("is sent nothing after a reconnect when it has everything", async () => {
    await ads.serve(aMesh(["cart"]));
    const envoy = ads.client();
    envoy.send("cds");
    const { message } = await envoy.next();
    const [resource] = message["resources"] as readonly { readonly version: string }[];
    envoy.close();
    await until("the old stream is gone", () => ads.agent.server.counters().streams === 0);
    const again = ads.client();
    again.send("cds", { initial_resource_versions: { cart: resource?.version ?? "" } });
    await until("the new one is served", () => ads.agent.server.classes().some((one) => one.served !== undefined));
    expect(await again.silent(100)).toBe(true);
    ads.agent.server.publish(classKey, aSnapshot(aMesh(["cart", "pay"])));
    expect((await again.next()).names).toEqual(["pay"]);
  });
});

describe("a state-of-the-world stream", () => {
  it("is sent all clusters when one changes, and only the endpoints that changed", async () => {
    await ads.serve(aMesh(["cart", "pay"]));
    const grpc = ads.client({ protocol: "sotw" });
    grpc.send("cds");
    const clusters = await grpc.next();
    expect(clusters.names).toEqual(["cart", "pay"]);
    grpc.ack(clusters);
    grpc.send("eds", { resource_names: ["cart", "pay"] });
    const endpoints = await grpc.next();
    expect(endpoints.names).toEqual(["cart", "pay"]);
    grpc.ack(endpoints, { resource_names: ["cart", "pay"] });
    const next = { ...aMesh(["cart", "pay"]), cds: [aCluster("cart", "9s"), aCluster("pay")] };
    ads.agent.server.publish(classKey, aSnapshot(next));
    const again = await grpc.next();
    expect(again).toMatchObject({ type: "cds", names: ["cart", "pay"] });
    expect(await grpc.next()).toMatchObject({ type: "eds", names: ["cart"] });
  });

  it("is not answered to a stale nonce", async () => {
    await ads.serve(aMesh(["cart"]));
    const grpc = ads.client({ protocol: "sotw" });
    grpc.send("eds", { resource_names: ["cart"] });
    const first = await grpc.next();
    grpc.ack(first, { resource_names: ["cart"] });
    ads.agent.server.publish(classKey, aSnapshot({ ...aMesh(["cart"]), eds: [anAssignment("cart", [99])] }));
    const second = await grpc.next();
    // still about the first response: void, whatever it asks for
    grpc.ack(first, { resource_names: ["cart", "other"] });
    expect(await grpc.silent(50)).toBe(true);
    grpc.ack(second, { resource_names: ["cart"] });
    await until("the acknowledgement counts", () => ads.agent.acks.length === 2);
  });

  it("reports a refusal with its text", async () => {
    await ads.serve(aMesh(["cart"]));
    const grpc = ads.client({ protocol: "sotw" });
    grpc.send("cds");
    grpc.nack(await grpc.next(), "cart: too strange");
    await until("the refusal is reported", () => ads.agent.nacks.length === 1);
    expect(ads.agent.nacks[0]).toMatchObject({
      type: "cds",
      errorText: "cart: too strange",
      culprit: { name: "cart" },
    });
    expect(await grpc.silent(50)).toBe(true);
  });
});

describe("a client that does not read", () => {
  it("delays no other, and is brought to the newest version when it reads again", async () => {
    await ads.serve(aMesh(["cart"]));
    const [slow, quick] = [ads.client(), ads.client()];
    for (const envoy of [slow, quick]) {
      envoy.send("cds");
      envoy.ack(await envoy.next());
    }
    slow.pause();
    const names = Array.from({ length: 300 }, (_, index) => `service-${index}`);
    let seconds = 0;
    for (let push = 1; push <= 40; push += 1) {
      seconds = push;
      ads.agent.server.publish(classKey, aSnapshot(aMesh(names, `${seconds}s`)));
      quick.ack(await quick.next());
    }
    const sentToSlow = ads.agent.sent.length - quick.received.length;
    expect(sentToSlow).toBeLessThanOrEqual(2);
    slow.resume();
    slow.ack(await slow.next());
    const { message } = await slow.next();
    expect(JSON.stringify(message)).toContain(`"connect_timeout":"${seconds}s"`);
  });
});
