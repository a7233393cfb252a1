import { EventEmitter } from "node:events";
import { beforeEach, describe, expect, it } from "vitest";
import type { Clock } from "../../shared/clock.ts";
import type { PublishBatch } from "../../shared/grpc/fleet-messages.ts";
import type { FleetClient } from "../../shared/grpc/fleet-service.ts";
import type { CapacityRecord } from "../../shared/registry.ts";
import { Publisher } from "./publisher.ts";
import { eventually } from "./testing/eventually.ts";

function capacity(name: string, ready = 1): CapacityRecord {
  return { kind: "capacity", cluster: "east", namespace: "shop", name, ports: [{ port: 80, ready, total: 1000 }] };
}
const many = (count: number, ready = 1) => Array.from({ length: count }, (_value, at) => capacity(`s${at}`, ready));

/** The hub's end of a stream: what was written, and how much it takes before it says "full". */
class FakeStream extends EventEmitter {
  readonly batches: PublishBatch[] = [];
  cancelled = false;
  room = Infinity;

  write(batch: PublishBatch): boolean {
    this.batches.push(batch);
    this.room -= 1;
    return this.room > 0;
  }

  cancel(): void {
    this.cancelled = true;
  }

  ack(sequence: number, problems: readonly { key: string; code: string; message: string }[] = []): void {
    this.emit("data", { sequence, revision: sequence * 10, problems });
  }

  ackAll(): void {
    for (const { sequence } of this.batches) if (sequence > this.#acked) this.ack((this.#acked = sequence));
  }
  #acked = 0;
}

let nowMs: number;
let streams: FakeStream[];
let publisher: Publisher;
const clock: Clock = { now: () => nowMs, sleep: () => Promise.reject(new Error("nothing here waits for time")) };
const client = {
  publish: () => {
    const stream = new FakeStream();
    streams.push(stream);
    return stream;
  },
} as unknown as FleetClient;

beforeEach(() => {
  nowMs = 1000;
  streams = [];
  publisher = new Publisher(clock);
});

interface Run {
  readonly ended: Promise<string>;
  readonly abort: AbortController;
  readonly acks: () => number;
}

function run(): Run {
  const abort = new AbortController();
  let acks = 0;
  const ended = publisher
    .runStream(client, abort.signal, () => (acks += 1))
    .catch((error: unknown) => (error as Error).message);
  return { ended, abort, acks: () => acks };
}

async function opened(count = 1): Promise<FakeStream> {
  await eventually(() => streams.length === count);
  return streams[count - 1]!;
}

const shape = ({ puts, deleteKeys, synced }: PublishBatch) => [puts.length, deleteKeys.length, synced];

describe("a publisher", () => {
  it("opens no stream while there is nothing to publish, and begins with the whole set", async () => {
    const { ended, abort } = run();
    expect(streams).toHaveLength(0);
    publisher.setDesired([capacity("cart"), capacity("basket")]);
    const stream = await opened();
    expect(stream.batches.map(shape)).toEqual([[2, 0, true]]);
    abort.abort(new Error("over"));
    expect([await ended, stream.cancelled]).toEqual(["over", true]);
  });

  it("ends an empty set with synced too: the hub must know that there is nothing", async () => {
    publisher.setDesired([]);
    run();
    expect((await opened()).batches.map(shape)).toEqual([[0, 0, true]]);
  });

  it("sends only what differs, before setDesired returns", async () => {
    publisher.setDesired([capacity("cart"), capacity("basket")]);
    run();
    const stream = await opened();
    publisher.setDesired([capacity("cart", 2), capacity("basket")]);
    expect(stream.batches.slice(1)).toMatchObject([
      { puts: [{ capacity: { name: "cart" } }], deleteKeys: [], synced: false },
    ]);
    publisher.setDesired([capacity("cart", 2)]);
    expect(stream.batches.slice(2)).toMatchObject([{ puts: [], deleteKeys: ["east/capacity/shop/basket"] }]);
  });

  it("sends no byte for an equal set, were it made of new objects", async () => {
    publisher.setDesired(many(3));
    run();
    const stream = await opened();
    publisher.setDesired(many(3).reverse());
    expect(stream.batches).toHaveLength(1);
  });

  it("splits a large set, deletes last, `synced` at the very end", async () => {
    publisher.setDesired(many(1201));
    run();
    const stream = await opened();
    expect(stream.batches.map(shape)).toEqual([
      [500, 0, false],
      [500, 0, false],
      [201, 0, true],
    ]);
    publisher.setDesired(many(600, 2));
    expect(stream.batches.slice(3).map(shape)).toEqual([
      [500, 0, false],
      [100, 601, false],
    ]);
  });

  it("skips what was overtaken while the stream was full", async () => {
    publisher.setDesired([capacity("cart", 1)]);
    run();
    const stream = await opened();
    stream.room = 1;
    for (let ready = 2; ready <= 50; ready += 1) publisher.setDesired([capacity("cart", ready)]);
    expect(stream.batches).toHaveLength(2);
    expect(publisher.isSettled()).toBe(false);
    stream.room = 10;
    stream.emit("drain");
    expect(stream.batches).toHaveLength(3);
    expect(stream.batches[2]).toMatchObject({ puts: [{ capacity: { ports: [{ ready: 50 }] } }] });
  });

  it("is settled when everything is acknowledged", async () => {
    publisher.setDesired([capacity("cart")]);
    const { acks } = run();
    const stream = await opened();
    expect(publisher.isSettled()).toBe(false);
    stream.ackAll();
    expect([publisher.isSettled(), publisher.ackedRevision(), acks()]).toEqual([true, 10, 1]);
  });

  it("tells of every answer after which the hub holds another set, and of no other", async () => {
    const told: string[][] = [];
    publisher.onAnswer(() => told.push([...publisher.held()].sort()));
    publisher.setDesired([capacity("cart"), capacity("basket")]);
    run();
    const stream = await opened();
    expect(told).toEqual([]);
    stream.ackAll();
    const [basket, cart] = ["east/capacity/shop/basket", "east/capacity/shop/cart"];
    publisher.setDesired([capacity("cart", 2), capacity("basket")]);
    stream.ackAll();
    publisher.setDesired([capacity("cart", 2)]);
    stream.ackAll();
    expect(told).toEqual([[basket, cart], [cart]]);
  });

  it("does not hold what the hub refused, and holds it when its next version is taken", async () => {
    const told: number[] = [];
    publisher.onAnswer(() => told.push(publisher.held().size));
    publisher.setDesired([capacity("cart")]);
    run();
    const stream = await opened();
    stream.ack(1, [{ key: "east/capacity/shop/cart", code: "ISTHMUS_RECORD", message: "no" }]);
    publisher.setDesired([capacity("cart", 2)]);
    stream.ack(2);
    expect(told).toEqual([0, 1]);
  });

  it("still holds what was acknowledged when the stream is lost, and nothing when the hub's data was replaced", async () => {
    publisher.setDesired([capacity("cart")]);
    const first = run();
    const stream = await opened();
    stream.ackAll();
    stream.emit("error", new Error("connection lost"));
    await first.ended;
    expect(publisher.held().size).toBe(1);
    publisher.restart();
    expect(publisher.held().size).toBe(0);
  });

  it("ends a stream whose acknowledgements are out of order", async () => {
    publisher.setDesired([capacity("cart")]);
    const { ended } = run();
    (await opened()).ack(5);
    expect(await ended).toContain("acknowledged batch 5");
  });

  it("sends the whole set again on the next stream, with sequences that go on rising", async () => {
    publisher.setDesired(many(2));
    const first = run();
    (await opened()).emit("error", new Error("connection lost"));
    expect(await first.ended).toBe("connection lost");
    publisher.setDesired(many(3)); // no stream: nothing is lost by that
    run();
    const second = await opened(2);
    expect(second.batches.map(shape)).toEqual([[3, 0, true]]);
    expect(second.batches[0]!.sequence).toBeGreaterThan(streams[0]!.batches[0]!.sequence);
    expect(second.batches[0]!.session).toBe(streams[0]!.batches[0]!.session);
  });

  it("remembers what the hub refused until it changes or goes", async () => {
    publisher.setDesired([capacity("cart"), capacity("basket")]);
    run();
    const stream = await opened();
    const problem = { key: "east/capacity/shop/cart", code: "ISTHMUS_RECORD", message: "no" };
    stream.ack(1, [problem]);
    expect(publisher.refused()).toEqual([problem]);
    publisher.setDesired([capacity("cart"), capacity("basket", 2)]);
    expect(publisher.refused()).toEqual([problem]);
    publisher.setDesired([capacity("cart", 2), capacity("basket", 2)]);
    expect(publisher.refused()).toEqual([]);
  });

  it("offers again what was over the quota when something else has gone", async () => {
    publisher.setDesired([capacity("cart"), capacity("basket")]);
    run();
    const stream = await opened();
    stream.ack(1, [{ key: "east/capacity/shop/basket", code: "ISTHMUS_RECORD_QUOTA", message: "too much" }]);
    publisher.setDesired([capacity("basket")]);
    expect(stream.batches.map(shape).slice(1)).toEqual([[0, 1, false]]);
    stream.ack(2);
    expect(stream.batches.map(shape).slice(2)).toEqual([[1, 0, false]]);
    stream.ack(3);
    expect(publisher.refused()).toEqual([]);
    expect([...publisher.held()]).toEqual(["east/capacity/shop/basket"]);
  });

  it("that no longer leads ends its stream; leading again is a new session with a later start", async () => {
    publisher.setDesired(many(1));
    const first = run();
    await opened();
    publisher.setDesired(undefined);
    expect(await first.ended).toContain("publishes no more");
    nowMs = 2000;
    const second = run();
    expect(streams).toHaveLength(1);
    publisher.setDesired(many(1));
    const stream = await opened(2);
    expect(stream.batches[0]!.startedAtMs).toBe(2000);
    expect(stream.batches[0]!.session).not.toBe(streams[0]!.batches[0]!.session);
    second.abort.abort(new Error("over"));
    expect(await second.ended).toBe("over");
  });

  it("starts over when the hub's data was replaced", async () => {
    publisher.setDesired(many(1));
    const { ended } = run();
    await opened();
    publisher.restart();
    expect(await ended).toContain("full set again");
  });
});
