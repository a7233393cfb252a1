// Programs that are one Go build away: CoreDNS for the clusters, helm for installing charts.
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Progress } from "../../shared/progress.ts";
import { cached, entryPath } from "../../shared/programs/cache.ts";
import { goBuild, type BuildContext, type GoBuild } from "./go.ts";
import { COREDNS, HELM } from "./versions.ts";

interface GoProgram {
  readonly name: string;
  readonly version: string;
  readonly build: Pick<GoBuild, "command" | "args" | "cwd">;
}

const coredns: GoProgram = {
  name: "coredns",
  version: COREDNS,
  build: {
    command: "build",
    args: (output) => ["-mod=readonly", "-o", join(output, "coredns"), "."],
    cwd: join(dirname(fileURLToPath(import.meta.url)), "coredns"),
  },
};
const helm: GoProgram = {
  name: "helm",
  version: HELM,
  build: { command: "install", args: () => [`helm.sh/helm/v3/cmd/helm@${HELM}`] },
};

async function installed({ name, version, build }: GoProgram, context: BuildContext): Promise<string> {
  const dir = await cached(entryPath({ name, version }), context.progress, (temporary) =>
    goBuild({ what: `${name} ${version}`, ldflags: "-s -w", ...build }, temporary, context),
  );
  return join(dir, name);
}

/** Path of the CoreDNS program (static: it runs in an image made from nothing). */
export const ensureCoredns = (progress: Progress, signal?: AbortSignal): Promise<string> =>
  installed(coredns, { progress, signal });

/** Path of the helm program; used by the CLI's `join` in tests and by the demo. */
export const ensureHelm = (progress: Progress, signal?: AbortSignal): Promise<string> =>
  installed(helm, { progress, signal });

export const goProgramPaths = {
  coredns: () => join(entryPath(coredns), coredns.name),
  helm: () => join(entryPath(helm), helm.name),
};
