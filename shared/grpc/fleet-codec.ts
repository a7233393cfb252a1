// Bytes <-> messages of shared/proto/fleet.proto by protobufjs reflection (static code is no faster: performance.md 2b).
// Called by fleet-service.ts for every gRPC message and by the hub to encode a change once for all its watchers.
import { readFileSync } from "node:fs";
import protobuf from "protobufjs";

const protoFile = new URL("../proto/fleet.proto", import.meta.url);
const root = protobuf.parse(readFileSync(protoFile, "utf8"), new protobuf.Root()).root.resolveAll();

const toPlain: protobuf.IConversionOptions = { longs: Number, defaults: true, arrays: true, oneofs: true };

export interface Codec<Message> {
  /** Accepts bytes that are encoded already and passes them through: one encoding serves any number of streams. */
  readonly encode: (message: Message | Uint8Array) => Buffer;
  readonly decode: (bytes: Uint8Array) => Message;
}

export function codecOf<Message extends object>(messageName: string): Codec<Message> {
  const type = root.lookupType(`isthmus.fleet.v1.${messageName}`);
  return {
    encode: (message) => {
      if (message instanceof Uint8Array) return asBuffer(message);
      return asBuffer(type.encode(type.fromObject(message)).finish());
    },
    decode: (bytes) => type.toObject(type.decode(bytes), toPlain) as Message,
  };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
