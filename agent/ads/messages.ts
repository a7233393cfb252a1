// The four messages of the ADS stream, read and written by hand: resources pass as bytes that are already encoded, and a
// request costs what it holds. Field numbers are those of envoy/service/discovery/v3/discovery.proto. Called by stream and cache.
import protobuf from "protobufjs";
import { contentVersion } from "../../shared/wire.ts";
import { resourceTypes, typeUrls, type EncodedResource, type ResourceType } from "../xds/resource.ts";
import type { Protocol } from "../xds/order.ts";

/** Fields that only one protocol has are empty in the other. */
export interface DiscoveryRequest {
  /** Undefined: a type that is not served here. */
  readonly type: ResourceType | undefined;
  readonly typeUrl: string;
  /** Only the first request of a stream must carry it. */
  readonly nodeId: string;
  readonly nonce: string;
  readonly errorText: string | undefined;
  /** SotW: the whole subscription. */
  readonly names: readonly string[];
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  readonly initialVersions: ReadonlyMap<string, string>;
}

const typeOfUrl = new Map<string, ResourceType>(resourceTypes.map((type) => [typeUrls[type], type]));

interface Fields {
  readonly strings: Map<number, string[]>;
  readonly initialVersions: Map<string, string>;
  nodeId: string;
  errorText: string | undefined;
}

/** Throws RangeError on bytes that are no message. */
export function decodeRequest(protocol: Protocol, bytes: Uint8Array): DiscoveryRequest {
  const numbers = requestFields[protocol];
  const fields = readRequest(numbers, bytes);
  const strings = (id: number) => fields.strings.get(id) ?? [];
  const last = (id: number) => strings(id).at(-1) ?? "";
  const typeUrl = last(numbers.typeUrl);
  return {
    type: typeOfUrl.get(typeUrl),
    typeUrl,
    nodeId: fields.nodeId,
    nonce: last(numbers.nonce),
    errorText: fields.errorText,
    names: strings(numbers.names),
    subscribe: strings(numbers.subscribe),
    unsubscribe: strings(numbers.unsubscribe),
    initialVersions: fields.initialVersions,
  };
}

/** 0 stands for a field that the protocol does not have. */
const requestFields = {
  delta: { node: 1, typeUrl: 2, names: 0, subscribe: 3, unsubscribe: 4, versions: 5, nonce: 6, error: 7 },
  sotw: { node: 2, typeUrl: 4, names: 3, subscribe: 0, unsubscribe: 0, versions: 0, nonce: 5, error: 6 },
} as const;

type RequestFields = (typeof requestFields)[Protocol];

function readRequest(numbers: RequestFields, bytes: Uint8Array): Fields {
  const reader = protobuf.Reader.create(bytes);
  const fields: Fields = { strings: new Map(), initialVersions: new Map(), nodeId: "", errorText: undefined };
  const wanted: ReadonlySet<number> = new Set([
    numbers.typeUrl,
    numbers.names,
    numbers.subscribe,
    numbers.unsubscribe,
    numbers.nonce,
  ]);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    const id = tag >>> 3;
    if (id === numbers.node) fields.nodeId = stringField(reader, 1);
    else if (id === numbers.error) fields.errorText = stringField(reader, 2);
    else if (id === numbers.versions && id !== 0) readVersion(reader, fields.initialVersions);
    else if (wanted.has(id)) push(fields.strings, id, reader.string());
    else reader.skipType(tag & 7);
  }
  return fields;
}

function push(strings: Map<number, string[]>, id: number, text: string): void {
  const list = strings.get(id);
  if (list === undefined) strings.set(id, [text]);
  else list.push(text);
}

/** The string field `wanted` of a nested message: the id of a Node, the message of a Status. */
function stringField(reader: protobuf.Reader, wanted: number): string {
  const end = reader.uint32() + reader.pos;
  let text = "";
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag >>> 3 === wanted) text = reader.string();
    else reader.skipType(tag & 7);
  }
  return text;
}

function readVersion(reader: protobuf.Reader, versions: Map<string, string>): void {
  const end = reader.uint32() + reader.pos;
  let name = "";
  let version = "";
  while (reader.pos < end) {
    const id = reader.uint32() >>> 3;
    if (id === 1) name = reader.string();
    else version = reader.string();
  }
  versions.set(name, version);
}

export interface ResponseContent {
  readonly type: ResourceType;
  readonly carried: readonly EncodedResource[];
  /** Delta only. */
  readonly removed: readonly string[];
}

/** One message, ready for any stream: nothing in it belongs to a single client. */
export function encodeResponse(protocol: Protocol, content: ResponseContent, nonce: string): Buffer {
  const { type, carried, removed } = content;
  const typeUrl = typeUrls[type];
  const version = contentVersion(
    Buffer.from(carried.map((resource) => `${resource.name} ${resource.version}`).join("\n")),
  ).slice(0, 16);
  const parts: Uint8Array[] = [text(1, version)];
  for (const resource of carried)
    parts.push(...(protocol === "delta" ? deltaResource(resource) : sotwResource(resource)));
  parts.push(text(4, typeUrl), text(5, nonce));
  if (protocol === "delta") for (const name of removed) parts.push(text(6, name));
  return Buffer.concat(parts);
}

function text(id: number, value: string): Uint8Array {
  return protobuf.Writer.create()
    .uint32((id << 3) | 2)
    .string(value)
    .finish();
}

/** A length-delimited field's start. */
function header(id: number, length: number): Uint8Array {
  return protobuf.Writer.create()
    .uint32((id << 3) | 2)
    .uint32(length)
    .finish();
}

/** `resources = 2` of DiscoveryResponse: an Any. */
function sotwResource(resource: EncodedResource): readonly Uint8Array[] {
  const any = anyParts(resource);
  return [header(2, lengthOf(any)), ...any];
}

/** `resources = 2` of DeltaDiscoveryResponse: a Resource with its name, version and Any. */
function deltaResource(resource: EncodedResource): readonly Uint8Array[] {
  const any = anyParts(resource);
  const body = [text(1, resource.version), header(2, lengthOf(any)), ...any, text(3, resource.name)];
  return [header(2, lengthOf(body)), ...body];
}

function anyParts(resource: EncodedResource): readonly Uint8Array[] {
  return [text(1, typeUrls[resource.type]), header(2, resource.bytes.length), resource.bytes];
}

function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}
