// The watcher alone, with a stream that the test fills and drains.
import { describe, expect, it } from "vitest";
import { watchEventCodec } from "../../shared/grpc/fleet-service.ts";
import type { TrustBundle, WatchEvent, WatchRequest } from "../../shared/grpc/fleet-messages.ts";
import type { ClusterName } from "../../shared/ids.ts";
import type { RegistryChange } from "../../shared/registry.ts";
import { RegistryView } from "../registry/view.ts";
import { EventBytes, Watcher } from "./watch.ts";

const bundle: TrustBundle = {
  sequence: 1,
  rootsDer: [],
  signerSpkiDer: Buffer.alloc(0),
  signature: Buffer.alloc(0),
  fleetDomain: "acme.mesh",
  revokedTrustDomains: [],
};

function put(revision: number, port = revision): RegistryChange {
  const record = {
    kind: "gateway",
    cluster: "west",
    addresses: [{ host: "192.0.2.1", port }],
    region: "",
    zone: "",
  } as const;
  return { op: "put", key: "west/gateway", revision, record };
}

function aWatcher(view: () => RegistryView, request: Partial<WatchRequest> = {}, room = Number.POSITIVE_INFINITY) {
  const sent: WatchEvent[] = [];
  const reasons: string[] = [];
  const stream = { room };
  const deps = {
    view,
    bundle: () => bundle,
    bytes: new EventBytes(),
    onResync: (reason: string) => reasons.push(reason),
    write: (bytes: Buffer) => {
      sent.push(watchEventCodec.decode(bytes));
      stream.room -= 1;
      return stream.room > 0;
    },
  };
  const watcher = new Watcher(deps, "east" as ClusterName, { incarnation: "", revision: 0, ...request });
  return { watcher, sent, reasons, stream, kinds: () => sent.map(({ event }) => event) };
}

describe("a watcher", () => {
  it("that is slow is sent nothing more until it drains, then a full list when the log has moved on", () => {
    const view = new RegistryView({ incarnation: "i", revision: 0, records: [] }, 4);
    const { watcher, sent, stream, reasons, kinds } = aWatcher(() => view);
    watcher.pump();
    expect(kinds()).toEqual(["bundle", "resync", "synced"]);
    stream.room = 1;
    for (let revision = 1; revision <= 1_000; revision += 1) {
      view.apply(put(revision));
      watcher.pump();
      watcher.bookmark();
    }
    expect(sent).toHaveLength(4);
    stream.room = Number.POSITIVE_INFINITY;
    watcher.drained();
    expect(kinds().slice(4)).toEqual(["resync", "change", "synced"]);
    expect(reasons).toEqual(["first-list", "too-far-behind"]);
    expect(sent.at(-1)).toMatchObject({ synced: { incarnation: "i", revision: 1_000 } });
  });

  it("that fills up in the middle of a list gets the rest of that list, then what changed meanwhile", () => {
    const records = Array.from({ length: 10 }, (_, at) => {
      const cluster = `c${at}`;
      const record = { kind: "gateway", cluster, addresses: [], region: "", zone: "" } as const;
      return { op: "put", key: `${cluster}/gateway`, revision: at + 1, record } as const;
    });
    const view = new RegistryView({ incarnation: "i", revision: 10, records });
    const { watcher, stream, kinds, sent } = aWatcher(() => view, {}, 5);
    watcher.pump();
    expect(sent).toHaveLength(5);
    view.apply({ op: "delete", key: "c0/gateway", revision: 11 });
    watcher.pump();
    expect(sent).toHaveLength(5);
    stream.room = Number.POSITIVE_INFINITY;
    watcher.drained();
    expect(kinds().filter((kind) => kind === "change")).toHaveLength(11);
    expect(kinds().slice(-2)).toEqual(["synced", "change"]);
  });

  it("with a cursor of this life gets only what is new, and one bookmark when that was nothing for it", () => {
    const view = new RegistryView({ incarnation: "i", revision: 5, records: [] });
    const { watcher, kinds } = aWatcher(() => view, { incarnation: "i", revision: 5 });
    watcher.pump();
    view.apply({ op: "quiet", revision: 6 });
    watcher.pump();
    watcher.pump();
    view.apply(put(7));
    watcher.pump();
    expect(kinds()).toEqual(["bundle", "synced", "bookmark", "change"]);
  });

  it("is given a list when the hub had to take a new snapshot that its cursor does not reach", () => {
    let view = new RegistryView({ incarnation: "i", revision: 5, records: [] });
    const { watcher, reasons, kinds } = aWatcher(() => view, { incarnation: "i", revision: 5 });
    watcher.pump();
    view = new RegistryView({ incarnation: "i", revision: 50, records: [] });
    watcher.pump();
    view = new RegistryView({ incarnation: "j", revision: 51, records: [] });
    watcher.pump();
    expect(reasons).toEqual(["registry-reloaded", "other-incarnation"]);
    expect(kinds()).toEqual(["bundle", "synced", "resync", "synced", "resync", "synced"]);
  });

  it("gets policy that names it, and hears that it is gone when it is named no longer", () => {
    const change = (revision: number, members: readonly string[], name = "a"): RegistryChange => {
      const names = { cluster: "west", policyKind: "TCPRoute", namespace: "shop", name };
      const record = { kind: "policy", ...names, members, manifest: "{}" } as const;
      return { op: "put", key: `west/policy/shop/TCPRoute/${name}`, revision, record };
    };
    const listed = change(1, ["north"], "b") as Extract<RegistryChange, { op: "put" }>;
    const view = new RegistryView({ incarnation: "i", revision: 1, records: [listed] });
    const { watcher, sent, kinds } = aWatcher(() => view);
    watcher.pump();
    expect(kinds()).toEqual(["bundle", "resync", "synced"]);
    for (const next of [change(2, ["*"]), change(3, ["east", "north"]), change(4, ["north"])]) view.apply(next);
    watcher.pump();
    expect(sent.slice(3)).toMatchObject([
      { change: { revision: 2, op: "put", put: { policy: { name: "a", members: ["*"] } } } },
      { change: { revision: 3, op: "put" } },
      { change: { revision: 4, op: "deleteKey", deleteKey: "west/policy/shop/TCPRoute/a" } },
    ]);
  });

  it("shares the bytes of a change with all other watchers", () => {
    const bytes = new EventBytes();
    const change = put(1);
    expect(bytes.change(change)).toBe(bytes.change(change));
    expect(bytes.mark("bookmark", "i", 1)).toBe(bytes.mark("bookmark", "i", 1));
    expect(bytes.mark("bookmark", "i", 2)).not.toBe(bytes.mark("bookmark", "i", 1));
  });
});
