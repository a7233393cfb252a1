// Programs that are one `go install` away: CoreDNS for the clusters, helm for installing charts.
import { join } from "node:path";
import type { Progress } from "../../shared/progress.ts";
import { cached, entryPath } from "../../shared/programs/cache.ts";
import { goBuild, type BuildContext } from "./go.ts";
import { COREDNS, HELM } from "./versions.ts";

interface GoProgram {
  readonly name: string;
  readonly version: string;
  readonly package: string;
}

const coredns: GoProgram = { name: "coredns", version: COREDNS, package: "github.com/coredns/coredns" };
const helm: GoProgram = { name: "helm", version: HELM, package: "helm.sh/helm/v3/cmd/helm" };

async function installed(program: GoProgram, context: BuildContext): Promise<string> {
  const dir = await cached(entryPath(program), context.progress, (temporary) =>
    goBuild(
      {
        what: `${program.name} ${program.version}`,
        command: "install",
        ldflags: "-s -w",
        args: () => [`${program.package}@${program.version}`],
      },
      temporary,
      context,
    ),
  );
  return join(dir, program.name);
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
