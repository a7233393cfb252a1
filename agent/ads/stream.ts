// One ADS stream: carries bytes between a client and the pure state of agent/xds. Made by server, pumped when something changed.
// It holds no queue: what is owed is the difference between the class's snapshot and the stream's state, computed when the
// stream may write. A client that does not read therefore costs its unread responses (one per type) and delays nobody.
import type { ServerDuplexStream } from "@grpc/grpc-js";
import type { Clock } from "../../shared/clock.ts";
import { markBatchSent, newStreamState, nextBatch, retargetStream, type Batch, type Protocol } from "../xds/order.ts";
import { answerOf } from "../xds/refusal.ts";
import { subscribeDelta, subscribeSotw } from "../xds/discovery-request.ts";
import type { Sent, TypeState } from "../xds/subscription.ts";
import type { EncodedResource, ResourceType } from "../xds/resource.ts";
import type { ResponseCache } from "./cache.ts";
import { accepted, refusedBy, type ClassState } from "./classes.ts";
import { decodeRequest, type DiscoveryRequest } from "./messages.ts";
import type { Outgoing } from "./outgoing.ts";
import type { Peer } from "./peer.ts";

export interface SentEvent {
  readonly type: ResourceType;
  readonly bytes: number;
  readonly resources: readonly EncodedResource[];
  readonly removed: readonly string[];
}

export interface AckEvent {
  readonly peer: Peer;
  readonly classKey: string;
  readonly type: ResourceType;
  /** What the client now has: its versions are those of the snapshot that was published. */
  readonly resources: readonly EncodedResource[];
  readonly removed: readonly string[];
}

export interface NackEvent extends AckEvent {
  readonly errorText: string;
  /** Undefined while it is being found out: the response held several resources. */
  readonly culprit: EncodedResource | undefined;
}

/** What happens on streams, for metrics, status and the propagation bench. Called synchronously: must be quick. */
export interface AdsTaps {
  readonly onSent?: (event: SentEvent) => void;
  readonly onAck?: (event: AckEvent) => void;
  readonly onNack?: (event: NackEvent) => void;
}

export interface StreamDeps {
  readonly protocol: Protocol;
  readonly peer: Peer;
  readonly call: ServerDuplexStream<Buffer, Buffer>;
  readonly cache: ResponseCache;
  readonly outgoing: Outgoing;
  readonly clock: Clock;
  readonly taps: AdsTaps;
  /** Asks for `pump` soon; several asks before it make one. */
  readonly wake: (stream: AdsStream) => void;
}

export interface AdsStream {
  readonly peer: Peer;
  /** `address:port` of the connection that it is on. */
  readonly address: string;
  readonly protocol: Protocol;
  readonly openedAtMs: number;
  proxyClass: ClassState<AdsStream> | undefined;
  /** Throws RangeError on bytes that are no request. */
  receive(bytes: Buffer): void;
  /** Writes whatever is due and may be written. */
  pump(): void;
  /** The client can take more. */
  drained(): void;
  readonly state: ReturnType<typeof newStreamState>;
}

export function createStream(deps: StreamDeps): AdsStream {
  const state = newStreamState(deps.protocol);
  let writable = true;
  const stream: AdsStream = {
    peer: deps.peer,
    address: deps.call.getPeer(),
    protocol: deps.protocol,
    openedAtMs: deps.clock.now(),
    proxyClass: undefined,
    state,
    receive: (bytes) => {
      const request = decodeRequest(deps.protocol, bytes);
      if (request.type === undefined) return; // a type that is not served here: silence is the protocol's answer
      take(deps, stream, state.types[request.type], request);
      deps.wake(stream);
    },
    pump: () => {
      const served = stream.proxyClass?.served;
      if (served === undefined) return;
      retargetStream(state, served);
      while (writable) {
        const batch = nextBatch(state);
        if (batch === undefined) return;
        writable = write(deps, stream, batch);
      }
    },
    drained: () => {
      writable = true;
      deps.wake(stream);
    },
  };
  return stream;
}

function write(deps: StreamDeps, stream: AdsStream, batch: Batch): boolean {
  const response = deps.cache.responseFor(deps.protocol, batch, stream.state.types[batch.type].lastNonce);
  markBatchSent(stream.state, batch, response.nonce);
  deps.taps.onSent?.({
    type: batch.type,
    bytes: response.bytes.length,
    resources: batch.carried,
    removed: batch.removed,
  });
  return deps.call.write(response.bytes, deps.outgoing.add(response.bytes.length));
}

function take(deps: StreamDeps, stream: AdsStream, state: TypeState, request: DiscoveryRequest): void {
  if (deps.protocol === "sotw") {
    // "stale nonce": a newer response is on its way, and the request that answers it will state the subscription again
    if (state.asked && request.nonce !== state.lastNonce) return;
    if (state.asked) settle(deps, stream, state, request);
    subscribeSotw(state, request.names);
    return;
  }
  if (request.nonce !== "") settle(deps, stream, state, request);
  const first = !state.asked;
  subscribeDelta(state, request);
  if (first) countAsAccepted(stream, state.type, request.initialVersions);
}

function settle(deps: StreamDeps, stream: AdsStream, state: TypeState, request: DiscoveryRequest): void {
  const answer = answerOf(state, request.nonce, request.errorText);
  const proxyClass = stream.proxyClass;
  if (answer.kind === "stale" || proxyClass === undefined) return;
  const event = eventOf(stream, proxyClass, state.type, answer.sent);
  if (answer.kind === "ack") {
    accepted(proxyClass, answer.sent.updates);
    deps.taps.onAck?.(event);
    return;
  }
  const errorText = request.errorText ?? "";
  deps.taps.onNack?.({ ...event, errorText, culprit: answer.culprit });
  if (answer.culprit !== undefined && refusedBy(proxyClass, answer.culprit, errorText)) {
    for (const sibling of proxyClass.streams) deps.wake(sibling);
  }
}

function eventOf(stream: AdsStream, proxyClass: ClassState<AdsStream>, type: ResourceType, sent: Sent): AckEvent {
  return { peer: stream.peer, classKey: proxyClass.key, type, resources: sent.updates, removed: sent.removed };
}

/** A client that comes back with what is published has accepted it before, perhaps from another replica. */
function countAsAccepted(stream: AdsStream, type: ResourceType, versions: ReadonlyMap<string, string>): void {
  const proxyClass = stream.proxyClass;
  const published = proxyClass?.published?.resources[type];
  if (proxyClass === undefined || published === undefined) return;
  for (const [name, version] of versions) {
    const resource = published.get(name);
    if (resource?.version === version) accepted(proxyClass, [resource]);
  }
}
