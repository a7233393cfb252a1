// The typed gRPC service of shared/proto/fleet.proto: the definition a hub serves and the client an agent calls.
// Called by hub/api and agent/hub. Carries messages only; what they mean is decided elsewhere.
import {
  Client,
  type CallOptions,
  type ChannelCredentials,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type MethodDefinition,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { codecOf, type Codec } from "./fleet-codec.ts";
import type {
  JoinReply,
  JoinRequest,
  LeaveReply,
  LeaveRequest,
  PublishAck,
  PublishBatch,
  RenewReply,
  RenewRequest,
  ReportReply,
  StatusReport,
  WatchEvent,
  WatchRequest,
} from "./fleet-messages.ts";
import type { MemberAnswer, MemberQuestion } from "./question-messages.ts";

/** A full set is published in batches of at most this many records: below gRPC's 4 MiB however long the names are. */
export const maxBatchRecords = 500;

export interface FleetServer extends UntypedServiceImplementation {
  readonly Join: handleUnaryCall<JoinRequest, JoinReply>;
  readonly Renew: handleUnaryCall<RenewRequest, RenewReply>;
  readonly Leave: handleUnaryCall<LeaveRequest, LeaveReply>;
  readonly Publish: handleBidiStreamingCall<PublishBatch, PublishAck>;
  /** Events may be written as bytes encoded before (`watchEventCodec`). */
  readonly Watch: handleServerStreamingCall<WatchRequest, WatchEvent | Uint8Array>;
  readonly Report: handleUnaryCall<StatusReport, ReportReply>;
  readonly Answer: handleBidiStreamingCall<MemberAnswer, MemberQuestion>;
}

export const watchEventCodec: Codec<WatchEvent> = codecOf<WatchEvent>("WatchEvent");

interface Kind {
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}
const unary: Kind = { requestStream: false, responseStream: false };

function method<Request, Response>(
  name: string,
  kind: Kind,
  request: Codec<Request>,
  response: Codec<Response>,
): MethodDefinition<Request, Response> {
  return {
    path: `/isthmus.fleet.v1.Fleet/${name}`,
    ...kind,
    requestSerialize: request.encode,
    requestDeserialize: request.decode,
    responseSerialize: response.encode,
    responseDeserialize: response.decode,
  };
}

const methods = {
  Join: method("Join", unary, codecOf<JoinRequest>("JoinRequest"), codecOf<JoinReply>("JoinReply")),
  Renew: method("Renew", unary, codecOf<RenewRequest>("RenewRequest"), codecOf<RenewReply>("RenewReply")),
  Leave: method("Leave", unary, codecOf<LeaveRequest>("LeaveRequest"), codecOf<LeaveReply>("LeaveReply")),
  Publish: method(
    "Publish",
    { requestStream: true, responseStream: true },
    codecOf<PublishBatch>("PublishBatch"),
    codecOf<PublishAck>("PublishAck"),
  ),
  Watch: method<WatchRequest, WatchEvent | Uint8Array>(
    "Watch",
    { requestStream: false, responseStream: true },
    codecOf<WatchRequest>("WatchRequest"),
    { encode: watchEventCodec.encode, decode: watchEventCodec.decode },
  ),
  Report: method("Report", unary, codecOf<StatusReport>("StatusReport"), codecOf<ReportReply>("ReportReply")),
  Answer: method(
    "Answer",
    { requestStream: true, responseStream: true },
    codecOf<MemberAnswer>("MemberAnswer"),
    codecOf<MemberQuestion>("MemberQuestion"),
  ),
};

export const fleetService: ServiceDefinition<FleetServer> = methods;

export interface FleetClient {
  join(request: JoinRequest, options?: CallOptions): Promise<JoinReply>;
  renew(request: RenewRequest, options?: CallOptions): Promise<RenewReply>;
  leave(request: LeaveRequest, options?: CallOptions): Promise<LeaveReply>;
  report(request: StatusReport, options?: CallOptions): Promise<ReportReply>;
  publish(options?: CallOptions): ClientDuplexStream<PublishBatch, PublishAck>;
  watch(request: WatchRequest, options?: CallOptions): ClientReadableStream<WatchEvent>;
  answer(options?: CallOptions): ClientDuplexStream<MemberAnswer, MemberQuestion>;
  close(): void;
}

/** `address` is host:port. A failed call rejects with a ServiceError: read it with `readFleetError`. */
export function createFleetClient(
  address: string,
  credentials: ChannelCredentials,
  options: ClientOptions = {},
): FleetClient {
  const client = new Client(address, credentials, options);
  const call = <Request, Response>(
    definition: MethodDefinition<Request, Response>,
    request: Request,
    callOptions: CallOptions = {},
  ) =>
    new Promise<Response>((resolve, reject) => {
      client.makeUnaryRequest<Request, Response>(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        request,
        callOptions,
        (error, value) => {
          if (error !== null || value === undefined) reject(error ?? new Error(`${definition.path}: empty reply`));
          else resolve(value);
        },
      );
    });
  const { Publish, Watch, Answer } = methods;
  return {
    join: (request, callOptions) => call(methods.Join, request, callOptions),
    renew: (request, callOptions) => call(methods.Renew, request, callOptions),
    leave: (request, callOptions) => call(methods.Leave, request, callOptions),
    report: (request, callOptions) => call(methods.Report, request, callOptions),
    publish: (callOptions = {}) =>
      client.makeBidiStreamRequest(Publish.path, Publish.requestSerialize, Publish.responseDeserialize, callOptions),
    watch: (request, callOptions = {}) =>
      client.makeServerStreamRequest(Watch.path, Watch.requestSerialize, watchEventCodec.decode, request, callOptions),
    answer: (callOptions = {}) =>
      client.makeBidiStreamRequest(Answer.path, Answer.requestSerialize, Answer.responseDeserialize, callOptions),
    close: () => client.close(),
  };
}
