// Load Reporting Service: a sidecar says how the application beside it answered, every two seconds. Envoy counts that anyway; it is
// asked for the application's clusters alone. Served beside ADS, to the same callers.
// https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/service/load_stats/v3/lrs.proto
import { status, type ServerDuplexStream, type ServiceDefinition } from "@grpc/grpc-js";
import { isHttp } from "../xds/clusters.ts";
import { formatName } from "../xds/names.ts";
import type { ProxyClass } from "../xds/proxy.ts";
import { authenticate, type AuthenticationDeps } from "./authenticate.ts";
import { byteStream } from "./definition.ts";
import { refusalStatus } from "./limits.ts";
import { decodeLoadReport, encodeLoadWish, type Answers } from "./load-messages.ts";
import { parsePeer, type AdsIdentity, type Peer } from "./peer.ts";
import type { Turnstile } from "./turnstile.ts";

const REPORT_EVERY_S = 2;

export const loadService = {
  StreamLoadStats: byteStream("/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats"),
} satisfies ServiceDefinition;

export interface LoadReportDeps extends AuthenticationDeps {
  readonly classify: (peer: Peer) => { readonly proxy: ProxyClass } | undefined;
  /** How the application beside a sidecar answered since the last report: at least one request. */
  readonly onAnswers: (peer: Peer, answers: Answers) => void;
}

type Call = ServerDuplexStream<Buffer, Buffer>;

export interface LoadReports {
  readonly handlers: { readonly StreamLoadStats: (call: Call) => void };
  /** Ends every stream: its proxy asks another replica. */
  end(): void;
}

export function createLoadReports(deps: LoadReportDeps, turnstile: Turnstile): LoadReports {
  const calls = new Set<Call>();
  const serve = async (call: Call) => {
    const identity = await turnstile.enter(() => authenticate(deps, call));
    if (identity.ok) call.on("data", reader(deps, call, identity.value));
    else call.emit("error", identity.error);
  };
  return {
    handlers: {
      StreamLoadStats: (call) => {
        calls.add(call);
        for (const event of ["cancelled", "error", "close"]) call.on(event, () => calls.delete(call));
        call.on("end", () => call.end());
        void serve(call);
      },
    },
    end: () => {
      for (const call of calls) call.end();
    },
  };
}

/** Takes one report after the other. A proxy reports whatever it was asked for: that is when what it serves is looked at again. */
function reader(deps: LoadReportDeps, call: Call, identity: AdsIdentity): (bytes: Buffer) => void {
  let peer: Peer | undefined;
  let asked: string | undefined;
  const read = (bytes: Buffer) => {
    const report = decodeLoadReport(bytes);
    if (peer === undefined) {
      const parsed = parsePeer(report.nodeId, identity);
      if (!parsed.ok) {
        call.emit(
          "error",
          refusalStatus(status.PERMISSION_DENIED, parsed.error.map(({ message }) => message).join("; ")),
        );
        return;
      }
      peer = parsed.value;
    }
    const { succeeded, failed } = report.answers;
    if (succeeded + failed > 0) deps.onAnswers(peer, report.answers);
    const clusters = applicationClusters(deps.classify(peer)?.proxy);
    if (asked === clusters.join(" ")) return;
    asked = clusters.join(" ");
    call.write(encodeLoadWish(clusters, REPORT_EVERY_S));
  };
  return (bytes) => {
    try {
      read(bytes);
    } catch (error) {
      deps.log.warn("a load report is no message", { pod: identity.podName, error: String(error) });
      call.emit("error", refusalStatus(status.INVALID_ARGUMENT, "not a load report"));
    }
  };
}

/** Where requests are answered: raw TCP has no failures to count. */
export function applicationClusters(proxy: ProxyClass | undefined): readonly string[] {
  if (proxy?.kind !== "sidecar") return [];
  return proxy.inbound
    .filter(({ protocol }) => isHttp(protocol))
    .flatMap(({ port }) =>
      (["h1", "h2"] as const).map((protocol) => formatName({ kind: "application", port, protocol })),
    );
}
