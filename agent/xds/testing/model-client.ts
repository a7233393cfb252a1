// A client of the xDS protocol written from the specification, not from our server: what it must have in the end, whatever the
// interleaving, is how subscription and order are judged. Messages wait in queues until the test delivers them.
import { markBatchSent, newStreamState, nextBatch, retargetStream, type Batch, type Protocol } from "../order.ts";
import { answerOf } from "../refusal.ts";
import { resourceTypes, type EncodedResource, type ResourceType, type Snapshot } from "../resource.ts";
import { subscribeDelta, subscribeSotw } from "../discovery-request.ts";

export function aResource(
  type: ResourceType,
  name: string,
  version: string,
  needs: EncodedResource["needs"] = [],
): EncodedResource {
  return { type, name, version, bytes: new Uint8Array(1), needs };
}

export function snapshotOf(resources: readonly EncodedResource[]): Snapshot {
  const byType = {} as Record<ResourceType, ReadonlyMap<string, EncodedResource>>;
  for (const type of resourceTypes) {
    byType[type] = new Map(resources.filter((one) => one.type === type).map((one) => [one.name, one]));
  }
  return { resources: byType };
}

interface Request {
  readonly type: ResourceType;
  readonly nonce: string;
  readonly error: string | undefined;
  /** SotW */
  readonly names: readonly string[];
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  readonly initialVersions: ReadonlyMap<string, string>;
}

interface Response extends Batch {
  readonly nonce: string;
}

const companions: Readonly<Partial<Record<ResourceType, readonly ResourceType[]>>> = {
  cds: ["eds"],
  lds: ["rds", "ecds"],
  ecds: ["rds"],
};

interface Side {
  wildcard: boolean;
  /** The wildcard was never spelled "*". */
  legacy: boolean;
  asked: boolean;
  readonly names: Set<string>;
  readonly has: Map<string, EncodedResource>;
  nonce: string;
}

export interface ModelClient {
  readonly sides: Readonly<Record<ResourceType, Side>>;
  /** What clusters, listeners and filters that came still wait for. */
  readonly warming: ReadonlySet<string>;
  readonly broken: readonly string[];
  subscribe(type: ResourceType, names: readonly string[]): void;
  unsubscribe(type: ResourceType, names: readonly string[]): void;
  subscribeAll(type: ResourceType): void;
  publish(snapshot: Snapshot): void;
  deliverRequest(): boolean;
  deliverResponse(): boolean;
  /** A new stream; the client keeps what it has and says so. */
  reconnect(): void;
  /** Until nobody has anything to say. */
  settle(): void;
  readonly responses: number;
}

export interface ModelBehaviour {
  /** Versions that this client will not take. Named or not, a response with one of them is refused as Envoy does. */
  readonly refuses?: { readonly versions: ReadonlySet<string>; readonly named: boolean };
  /** As Envoy does, a response with Clusters is acknowledged when they are warm. */
  readonly warmsClusters?: boolean;
}

export function modelClient(
  protocol: Protocol,
  { refuses = { versions: new Set(), named: true }, warmsClusters = false }: ModelBehaviour = {},
): ModelClient {
  const newSide = (): Side => ({
    wildcard: false,
    legacy: false,
    asked: false,
    names: new Set(),
    has: new Map(),
    nonce: "",
  });
  const sides: Record<ResourceType, Side> = {
    cds: newSide(),
    eds: newSide(),
    lds: newSide(),
    rds: newSide(),
    ecds: newSide(),
    sds: newSide(),
  };
  let server = newStreamState(protocol);
  let target: Snapshot | undefined;
  let nonces = 0;
  let responses = 0;
  let toServer: Request[] = [];
  let toClient: Response[] = [];
  /** The ACK of Clusters that are not warm. */
  let held: { readonly names: readonly string[]; readonly ack: () => void } | undefined;
  const warming = new Set<string>();
  const broken: string[] = [];

  const send = (type: ResourceType, change: Partial<Request>) => {
    const side = sides[type];
    side.asked = true;
    const names = stated(side);
    toServer.push({
      type,
      nonce: protocol === "sotw" ? side.nonce : "",
      error: undefined,
      names,
      subscribe: [],
      unsubscribe: [],
      initialVersions: new Map(),
      ...change,
    });
  };
  /** The whole subscription, as a SotW request says it and a delta client repeats it on a new stream. */
  const stated = (side: Side): readonly string[] => {
    if (!side.wildcard) return [...side.names];
    return side.legacy && side.names.size === 0 ? [] : ["*", ...side.names];
  };
  const wants = (side: Side, name: string) => side.wildcard || side.names.has(name);
  const pump = () => {
    if (target === undefined) return;
    retargetStream(server, target);
    for (let batch = nextBatch(server); batch !== undefined; batch = nextBatch(server)) {
      const nonce = String((nonces += 1));
      markBatchSent(server, batch, nonce);
      toClient.push({ ...batch, nonce });
      responses += 1;
    }
  };
  /** These, and what the client has of all that they name. */
  const inUse = (users: readonly EncodedResource[]): readonly EncodedResource[] => {
    const named = users.flatMap(({ needs }) => needs).flatMap(({ type, name }) => sides[type].has.get(name) ?? []);
    return named.length === 0 ? users : [...users, ...inUse(named)];
  };
  const checkReferences = () => {
    for (const { name, needs } of inUse([...sides.lds.has.values()])) {
      const dangling = needs.filter((need) => need.type === "cds" && !sides.cds.has.has(need.name));
      broken.push(...dangling.map((need) => `${name} -> ${need.name}`));
    }
  };
  const drop = (side: Side, name: string) => {
    for (const need of side.has.get(name)?.needs ?? []) warming.delete(need.name);
    side.has.delete(name);
  };
  /** What a resource names no more it does not wait for. */
  const forgetNeeds = (had: EncodedResource, one: EncodedResource) => {
    for (const { name } of had.needs) if (!one.needs.some((need) => need.name === name)) warming.delete(name);
  };
  const takeOne = (side: Side, one: EncodedResource) => {
    const had = side.has.get(one.name);
    side.has.set(one.name, one);
    const following = companions[one.type] ?? [];
    if (had !== undefined) forgetNeeds(had, one);
    if (had?.version === one.version) return;
    // a changed cluster is a new one and needs its endpoints; listeners and filters share the route tables and filters that they know
    const known = one.type !== "cds" ? (had?.needs ?? []) : [];
    for (const need of one.needs) {
      if (following.includes(need.type) && !known.some((two) => two.name === need.name)) warming.add(need.name);
    }
  };
  const take = (side: Side, { type, carried, removed }: Response) => {
    if (type === "eds" || type === "rds" || type === "ecds") for (const one of carried) warming.delete(one.name);
    // a Cluster whose endpoints are known not to exist is warm
    if (type === "eds") for (const name of removed) warming.delete(name);
    const taken = carried.filter((one) => wants(side, one.name) && !refuses.versions.has(one.version));
    for (const one of taken) takeOne(side, one);
    for (const name of removed) drop(side, name);
    if (protocol === "sotw" && (type === "cds" || type === "lds")) dropUnlisted(side, carried);
  };
  const dropUnlisted = (side: Side, carried: readonly EncodedResource[]) => {
    const listed = new Set(carried.map((one) => one.name));
    for (const name of [...side.has.keys()].filter((one) => !listed.has(one))) drop(side, name);
  };
  const release = () => {
    if (held === undefined || held.names.some((name) => warming.has(name))) return;
    held.ack();
    held = undefined;
  };
  const client: ModelClient = {
    sides,
    warming,
    broken,
    subscribe: (type, names) => {
      const side = sides[type];
      const added = names.filter((name) => !side.names.has(name));
      for (const name of added) side.names.add(name);
      if (added.length > 0) send(type, { subscribe: added });
    },
    unsubscribe: (type, names) => {
      const side = sides[type];
      const gone = names.filter((name) => side.names.delete(name));
      // "the client may have dropped it", even where a wildcard still covers it
      for (const name of gone) if (protocol === "delta" || !side.wildcard) drop(side, name);
      if (gone.length > 0) send(type, { unsubscribe: gone });
    },
    subscribeAll: (type) => {
      const side = sides[type];
      if (side.wildcard) return;
      side.wildcard = true;
      side.legacy = !side.asked && (type === "cds" || type === "lds");
      send(type, { subscribe: side.legacy ? [] : ["*"] });
    },
    publish: (snapshot) => {
      target = snapshot;
      pump();
    },
    deliverRequest: () => {
      const request = toServer.shift();
      if (request === undefined) return false;
      const state = server.types[request.type];
      if (protocol === "sotw") {
        if (state.asked && request.nonce !== state.lastNonce) return true;
        if (state.asked) answerOf(state, request.nonce, request.error);
        subscribeSotw(state, request.names);
      } else {
        if (request.nonce !== "") answerOf(state, request.nonce, request.error);
        subscribeDelta(state, request);
      }
      pump();
      return true;
    },
    deliverResponse: () => {
      const response = toClient.shift();
      if (response === undefined) return false;
      const side = sides[response.type];
      side.nonce = response.nonce;
      const bad = response.carried.filter((one) => refuses.versions.has(one.version));
      // Envoy names the culprit of a listener or cluster and takes the rest; one that fails validation takes all down with it
      if (bad.length === 0 || refuses.named) take(side, response);
      checkReferences();
      const error =
        bad.length === 0 ? undefined : refuses.named ? `rejected ${bad.map((one) => one.name).join(", ")}: bad` : "bad";
      const ack = () => send(response.type, { nonce: response.nonce, error });
      if (response.type === "cds" && warmsClusters) held = { names: response.updates.map(({ name }) => name), ack };
      else ack();
      release();
      return true;
    },
    reconnect: () => {
      server = newStreamState(protocol);
      toServer = [];
      toClient = [];
      held = undefined;
      for (const type of resourceTypes) {
        const side = sides[type];
        side.nonce = "";
        if (!side.asked) continue;
        const initialVersions = new Map([...side.has].map(([name, one]) => [name, one.version]));
        send(type, { subscribe: stated(side), initialVersions });
      }
    },
    settle: () => {
      pump();
      for (let turn = 0; client.deliverResponse() || client.deliverRequest(); turn += 1) {
        if (turn > 10_000) throw new Error("client and server talk without end");
      }
    },
    get responses() {
      return responses;
    },
  };
  return client;
}
