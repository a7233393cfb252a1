// An ADS server as the agent runs it, for tests: TLS with a real chain, tokens that are checked, one class for every peer.
import type { ServerCredentials } from "@grpc/grpc-js";
import { systemClock } from "../../../shared/clock.ts";
import { jsonLog } from "../../../shared/log.ts";
import { ok, rejected } from "../../../shared/result.ts";
import type { AdsIdentity } from "../peer.ts";
import { createAdsServer, type AdsServer, type AdsServerDeps } from "../server.ts";
import type { AckEvent, NackEvent, SentEvent } from "../stream.ts";

export const anIdentity: AdsIdentity = {
  namespace: "shop",
  serviceAccount: "front",
  podName: "front-1",
  podUid: "uid-1",
  expiresAtMs: Date.now() + 3_600_000,
};

export interface TestAgent {
  readonly server: AdsServer;
  readonly port: number;
  readonly sent: SentEvent[];
  readonly acks: AckEvent[];
  readonly nacks: NackEvent[];
  readonly wanted: string[];
  readonly logged: string[];
  stop(): Promise<void>;
}

export const classKey = "all";

export async function startAgent(
  credentials: ServerCredentials,
  given: Partial<AdsServerDeps> & { readonly port?: number } = {},
): Promise<TestAgent> {
  const sent: SentEvent[] = [];
  const acks: AckEvent[] = [];
  const nacks: NackEvent[] = [];
  const wanted: string[] = [];
  const logged: string[] = [];
  const { port: wantedPort = 0, ...deps } = given;
  const server = createAdsServer({
    authenticate: (token) =>
      Promise.resolve(token === "token" ? ok(anIdentity) : rejected("ISTHMUS_TOKEN", "not our token")),
    classify: () => ({ key: classKey, proxy: { kind: "gateway" } }),
    onClass: ({ wanted: isWanted, proxyClass }) => wanted.push(`${isWanted ? "+" : "-"}${proxyClass.key}`),
    taps: {
      onSent: (event) => sent.push(event),
      onAck: (event) => acks.push(event),
      onNack: (event) => nacks.push(event),
    },
    onAnswers: () => undefined,
    clock: systemClock,
    random: () => 0.5,
    log: jsonLog("info", (line) => logged.push(line)),
    limits: { maxStreamAgeMs: 3_600_000 },
    ...deps,
  });
  const port = await server.listen(`127.0.0.1:${wantedPort}`, credentials);
  return { server, port, sent, acks, nacks, wanted, logged, stop: () => server.close(0) };
}
