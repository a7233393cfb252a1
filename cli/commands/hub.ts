// `isthmus hub`: runs the hub in the foreground until it is told to stop (SIGTERM, SIGINT), then drains.
import { Command, Option } from "commander";
import type { HubOptions } from "../../hub/config.ts";
import { dataFlag, dataOption } from "../data-folder.ts";
import { openOutput, type Format, type Streams } from "../output.ts";
import { ownVersion } from "../version.ts";

export function hubCommand(streams: Streams): Command {
  return new Command("hub")
    .description("run the hub")
    .addOption(dataOption())
    .addOption(
      new Option(
        "--redis <url>",
        "a Redis of yours: rediss://[user:password@]host[:port][/db]; default: one of its own",
      ).env("ISTHMUS_REDIS_URL"),
    )
    .option("--redis-ca <file>", "authority of that Redis's certificate (PEM)")
    .option("--listen <host:port>", "gRPC for agents (default: 0.0.0.0:8443)")
    .option("--http <host:port>", "health and metrics (default: 0.0.0.0:8081)")
    .option("--advertise <host:port>", "where agents reach this hub (default: as isthmus init was told)")
    .option("--bundle-listen <host:port>", "SPIFFE bundle endpoint, for other fleets (default: none)")
    .option("--bundle-cert <file>", "its certificate of the web (PEM), with --bundle-key; default: the hub's own SVID")
    .option("--bundle-key <file>", "key of that certificate (PEM)")
    .option("--insecure-dev", "allow a redis:// URL without TLS")
    .option("--allow-loopback", "let members publish gateways on loopback (sites on one machine)")
    .option("--agent-ttl <duration>", "life of agents' certificates (default: 7d)")
    .option("--cluster-ca-ttl <duration>", "life of cluster CAs (default: 7d)")
    .option("--retire-skew <duration>", "how long a retiring root outlives the last certificate under it (default: 5m)")
    .option("--root-ttl <duration>", "life of roots that rotations make (default: 1825d)")
    .option("--hub-ttl <duration>", "life of the hub's own certificate (default: 90d)")
    .option("--bundle-refresh <duration>", "how often other fleets read this one's bundle again (default: 5m)")
    .option("--max-records <number>", "records that one member may hold in the registry (default: 10000)")
    .option("--max-policies <number>", "SMI objects that one member may offer to others (default: 1000)")
    .option("--log-level <level>", "debug, info, warn or error", "info")
    .action((options: RunOptions) => run(options, streams));
}

type RunOptions = HubOptions & { readonly output: Format };

async function run(options: RunOptions, streams: Streams): Promise<void> {
  // loaded here, because every other command would pay for it
  const [{ parseHubOptions }, { hubDeps, runHub }] = await Promise.all([
    import("../../hub/config.ts"),
    import("../../hub/main.ts"),
  ]);
  const config = await parseHubOptions(options);
  const out = openOutput(options.output, streams);
  const ending = new AbortController();
  const end = (signal: NodeJS.Signals) => ending.abort(new Error(`ended by ${signal}`));
  process.once("SIGTERM", end);
  process.once("SIGINT", end);
  const onReady = (ports: { readonly grpc: number; readonly http: number }) => {
    if (options.output === "json") out.result({ dataDir: config.dataDir, ports }, "");
    out.next(`isthmus token create east${dataFlag(options.data)}`);
  };
  await runHub(config, ending.signal, { ...hubDeps(config, ownVersion()), onReady });
}
