// The hundred Envoys' worth of streams of bench `policy`, in a process of their own so that the agent's CPU is the agent's alone.
// Forked by policy.ts. Each subscribes as Envoy does, to what its clusters and listeners refer to, acknowledges everything and
// counts the bytes that came.
import { connect, type ClientHttp2Session } from "node:http2";
import { referencesOf } from "../../agent/xds/references.ts";
import { resourceTypes, typeUrls, type JsonMessage, type ResourceType } from "../../agent/xds/resource.ts";
import { eachMessage, openDelta, requestFrame } from "../../agent/ads/testing/raw-stream.ts";
import { decodeJson } from "../../shared/wire.ts";
import type { StreamOwner } from "./policy-mesh.ts";

export type ClientsOrder =
  | { readonly open: readonly StreamOwner[]; readonly origin: string }
  /** Answered with what came since the last question. */
  | { readonly count: true };

/** Bytes of gRPC messages by pod. */
export type ClientsCount = Readonly<Record<string, number>>;

const sessions: ClientHttp2Session[] = [];
const received = new Map<string, number>();

const typeOfUrl = new Map<string, ResourceType>(resourceTypes.map((type) => [typeUrls[type], type]));

function nameOf(resource: JsonMessage): string {
  const name = resource["name"];
  return typeof name === "string" ? name : "";
}

/** Names of other types that a response's resources refer to. */
function namesIn(type: ResourceType, message: JsonMessage): readonly { type: ResourceType; name: string }[] {
  const resources = (message["resources"] ?? []) as readonly JsonMessage[];
  return resources.flatMap((resource) =>
    referencesOf(type, nameOf(resource), resource["resource"] as JsonMessage).filter((need) => need.type !== "cds"),
  );
}

function openStream({ pod, namespace, kind }: StreamOwner, origin: string): void {
  const session = connect(origin, { rejectUnauthorized: false, servername: "agent" });
  sessions.push(session);
  const stream = openDelta(session, pod);
  for (const end of ["error", "close"] as const) {
    stream.on(end, (error?: unknown) => {
      throw new Error(`the stream of ${pod} ended`, { cause: error });
    });
  }
  const subscribed = new Set<string>();
  const subscribe = (needs: readonly { readonly type: ResourceType; readonly name: string }[]) => {
    const fresh = needs.filter(({ type, name }) => !subscribed.has(`${type} ${name}`));
    for (const { type, name } of fresh) subscribed.add(`${type} ${name}`);
    for (const [type, named] of Map.groupBy(fresh, (need) => need.type)) {
      const names = named.map(({ name }) => name);
      stream.write(requestFrame({ type_url: typeUrls[type], resource_names_subscribe: names }));
    }
  };
  eachMessage(stream, (message) => {
    received.set(pod, (received.get(pod) ?? 0) + message.length);
    const response = decodeJson("envoy.service.discovery.v3.DeltaDiscoveryResponse", message);
    const typeUrl = response["type_url"] as string;
    const type = typeOfUrl.get(typeUrl);
    if (type !== undefined) subscribe(namesIn(type, response));
    stream.write(requestFrame({ type_url: typeUrl, response_nonce: response["nonce"] as string }));
  });
  const node = { id: `${kind}~${pod}.${namespace}` };
  stream.write(requestFrame({ node, type_url: typeUrls.cds }));
  stream.write(requestFrame({ type_url: typeUrls.lds }));
}

process.on("message", (order: ClientsOrder) => {
  if ("open" in order) {
    for (const owner of order.open) openStream(owner, order.origin);
    return;
  }
  const count: ClientsCount = Object.fromEntries(received);
  received.clear();
  process.send?.(count);
});
