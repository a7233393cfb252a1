// A gRPC client of the ADS stream for tests: speaks raw messages, answers nothing by itself, and waits for events with a deadline.
import {
  Client,
  credentials,
  Metadata,
  type ChannelCredentials,
  type ClientDuplexStream,
  type StatusObject,
} from "@grpc/grpc-js";
import { decodeJson, encodeJson } from "../../../shared/wire.ts";
import type { Protocol } from "../../xds/order.ts";
import { typeUrls, type JsonMessage, type ResourceType } from "../../xds/resource.ts";
import { adsService } from "../definition.ts";

export interface Answer {
  readonly type: string;
  readonly nonce: string;
  readonly names: readonly string[];
  readonly removed: readonly string[];
  readonly message: JsonMessage;
}

export interface TestClient {
  send(type: ResourceType, fields?: JsonMessage): void;
  sendRaw(bytes: Buffer): void;
  ack(answer: Answer, fields?: JsonMessage): void;
  nack(answer: Answer, message: string): void;
  /** The next response, in order. */
  next(deadlineMs?: number): Promise<Answer>;
  /** True when none came within the time: only for "nothing is sent", never to wait for something. */
  silent(ms: number): Promise<boolean>;
  ended(): Promise<StatusObject>;
  /** Stops reading, as a client that hangs. */
  pause(): void;
  resume(): void;
  close(): void;
  readonly received: readonly Answer[];
}

export interface ClientOptions {
  readonly protocol?: Protocol;
  readonly token?: string;
  readonly node?: string;
  readonly tls?: ChannelCredentials;
}

const service = "envoy.service.discovery.v3";

export function connect(port: number, options: ClientOptions = {}): TestClient {
  const {
    protocol = "delta",
    token = "token",
    node = "sidecar~front-1.shop",
    tls = credentials.createInsecure(),
  } = options;
  const channel = new Client(`127.0.0.1:${port}`, tls, {
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_retries": 0,
  });
  const method = protocol === "delta" ? adsService.DeltaAggregatedResources : adsService.StreamAggregatedResources;
  const metadata = new Metadata();
  if (token !== "") metadata.set("authorization", `Bearer ${token}`);
  const call: ClientDuplexStream<Buffer, Buffer> = channel.makeBidiStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    metadata,
  );
  const received: Answer[] = [];
  let read = 0;
  let wake = () => undefined as unknown;
  call.on("data", (bytes: Buffer) => {
    received.push(parse(protocol, bytes));
    wake();
  });
  call.on("error", () => undefined); // the status says it
  let over: StatusObject | undefined;
  const status = new Promise<StatusObject>((resolve) => call.on("status", resolve));
  call.on("status", (ended) => (over = ended));
  let first = true;
  const send = (type: ResourceType, fields: JsonMessage = {}) => {
    const request = { ...(first ? { node: { id: node } } : {}), type_url: typeUrls[type], ...fields };
    first = false;
    call.write(Buffer.from(encodeJson(`${service}.${protocol === "delta" ? "Delta" : ""}DiscoveryRequest`, request)));
  };
  const typeOf = (answer: Answer) => answer.type as ResourceType;
  const within = async (ms: number) => {
    if (read < received.length) return received[read++];
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      new Promise((resolve) => (wake = () => resolve(undefined))),
      status,
      new Promise((resolve) => (timer = setTimeout(resolve, ms))),
    ]);
    clearTimeout(timer);
    return read < received.length ? received[read++] : undefined;
  };
  return {
    received,
    send,
    sendRaw: (bytes) => void call.write(bytes),
    ack: (answer, fields = {}) => send(typeOf(answer), { response_nonce: answer.nonce, ...fields }),
    nack: (answer, message) =>
      send(typeOf(answer), { response_nonce: answer.nonce, error_detail: { code: 13, message } }),
    next: async (deadlineMs = 15_000) => {
      const answer = await within(deadlineMs);
      if (answer === undefined && over !== undefined) throw new Error(`the stream ended: ${over.code} ${over.details}`);
      if (answer === undefined) throw new Error(`no response within ${deadlineMs} ms`);
      return answer;
    },
    silent: async (ms) => (await within(ms)) === undefined,
    ended: () => status,
    pause: () => void call.pause(),
    resume: () => void call.resume(),
    close: () => {
      call.cancel();
      channel.close();
    },
  };
}

function parse(protocol: Protocol, bytes: Buffer): Answer {
  const message = decodeJson(`${service}.${protocol === "delta" ? "Delta" : ""}DiscoveryResponse`, bytes);
  const resources = (message["resources"] ?? []) as readonly JsonMessage[];
  const url = message["type_url"];
  const type = Object.entries(typeUrls).find(([, known]) => known === url)?.[0] ?? "";
  return {
    type,
    nonce: message["nonce"] as string,
    names: resources.map((one) => (one["name"] ?? one["cluster_name"]) as string),
    removed: (message["removed_resources"] ?? []) as readonly string[],
    message,
  };
}
