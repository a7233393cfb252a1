// The gRPC service of ADS with buffers passed through as they are: encoding is done once per class, not once per stream.
// Used by server and by clients in tests.
import type { ServerOptions, ServiceDefinition } from "@grpc/grpc-js";

const asItIs = (bytes: Buffer) => bytes;

/** A stream both ways, of messages as they are on the wire. */
export const byteStream = (path: string) => ({
  path,
  requestStream: true,
  responseStream: true,
  requestSerialize: asItIs,
  requestDeserialize: asItIs,
  responseSerialize: asItIs,
  responseDeserialize: asItIs,
});

const method = (name: string) => byteStream(`/envoy.service.discovery.v3.AggregatedDiscoveryService/${name}`);

export const adsService = {
  DeltaAggregatedResources: method("DeltaAggregatedResources"),
  StreamAggregatedResources: method("StreamAggregatedResources"),
} satisfies ServiceDefinition;

export const adsOptions: ServerOptions = {
  // a half-open connection (node lost, no RST) is noticed within 40 s; Envoy pings by itself only if configured to
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  // a reconnecting proxy states the version of every resource it has: 10,000 names of 200 bytes
  "grpc.max_receive_message_length": 16 * 1024 * 1024,
  // resources are limited by xds/order.ts; one resource alone may be larger
  "grpc.max_send_message_length": -1,
  "grpc.max_concurrent_streams": 100,
};
