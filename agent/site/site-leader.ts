// What the agent of a site does for all of it, as the leader does in a cluster: it derives Services from imports, keeps the
// last good registry, and says how exports stand. A site has one agent, so nobody else does it meanwhile.
import type { Clock } from "../../shared/clock.ts";
import type { Log } from "../../shared/log.ts";
import type { Problem } from "../../shared/result.ts";
import { registryContent, type RegistryCopy } from "../hub/registry-copy.ts";
import type { RemoteState } from "../hub/remote-registry.ts";
import { exportConditions, type ExportStatus } from "../ir/export-conditions.ts";
import { selectImports } from "../ir/imports.ts";
import type { ServiceImportIr } from "../ir/types.ts";
import type { Leader } from "../platform.ts";
import { derivedServices } from "./derived-services.ts";
import { createKeeper } from "./keeper.ts";
import { createProblemLog } from "./problem-log.ts";
import { located } from "./site-objects.ts";
import type { SiteSource } from "./site-source.ts";

export interface SiteLeader extends Leader {
  exports(): readonly ExportStatus[];
  imports(): readonly ServiceImportIr[];
}

export interface SiteLeaderDeps {
  readonly source: SiteSource;
  readonly registryCopy: RegistryCopy;
  /** After every push. */
  readonly onSettled: () => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** The copy is for a restart with the hub away: a second behind is soon enough. */
const COPY_SPACING_MS = 1_000;
const REFRESH_MS = 10 * 60_000;

export function createSiteLeader(deps: SiteLeaderDeps): SiteLeader {
  const { source, registryCopy, log } = deps;
  const registry = createKeeper<RemoteState>({
    ...deps,
    name: "last good registry",
    write: (state) => registryCopy.save(registryContent(state)),
    refreshMs: REFRESH_MS,
    spacingMs: COPY_SPACING_MS,
  });
  let imports: readonly ServiceImportIr[] = [];
  let exports: readonly ExportStatus[] = [];
  const problems = () => exports.flatMap(exportProblems).map((problem) => located(source.objects().places, problem));
  const told = createProblemLog(log);
  return {
    tasks: [registry.task],
    settled: ({ inputs, problems: ofMesh }, { connected, acknowledged, refused }) => {
      imports = selectImports(inputs);
      source.setDerived(derivedServices(imports, connected, source.derived()));
      exports = exportConditions(inputs, { acknowledged, refused });
      const ofObjects = [...ofMesh, ...refused].map((problem) => located(source.objects().places, problem));
      told([...source.problems(), ...ofObjects, ...problems()]);
      deps.onSettled();
    },
    remote: (state) => registry.want(state),
    problems: () => [...problems(), ...registry.problems()],
    exports: () => exports,
    imports: () => imports,
  };
}

/** In a cluster they are conditions of the object; a file has none. */
function exportProblems({ namespace, name, conditions }: ExportStatus): readonly Problem[] {
  const object = { kind: "ServiceExport", namespace, name };
  return conditions.flatMap(({ type, status, message }) => {
    if (type === "Valid" && status === "False") return [{ code: "ISTHMUS_EXPORT_INVALID", message, object }];
    if (type === "Conflict" && status === "True") return [{ code: "ISTHMUS_EXPORT_CONFLICT", message, object }];
    return [];
  });
}
