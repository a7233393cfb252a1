// The two images that clusters need before any of ours: the pause container and CoreDNS, each one static program.
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cached, entryPath, goArch } from "../../shared/programs/cache.ts";
import { goBuild, type BuildContext } from "../binaries/go.ts";
import { ensureCoredns } from "../binaries/go-programs.ts";
import { COREDNS } from "../binaries/versions.ts";
import { COREDNS_IMAGE, PAUSE_IMAGE } from "../node/addons.ts";
import type { Progress } from "../../shared/progress.ts";
import { writeOciArchive } from "./oci-image.ts";

const PAUSE_VERSION = 1;

async function ensurePause(context: BuildContext): Promise<string> {
  const entry = { name: "pause", version: `v${PAUSE_VERSION}` };
  const dir = await cached(entryPath(entry), context.progress, (temporary) =>
    goBuild(
      {
        what: "the pause container",
        command: "build",
        ldflags: "-s -w",
        args: (output) => ["-o", join(output, "pause"), "."],
        cwd: join(dirname(fileURLToPath(import.meta.url)), "../binaries/pause"),
      },
      temporary,
      context,
    ),
  );
  return join(dir, "pause");
}

/** OCI archives of the system images. */
export async function ensureSystemImages(progress: Progress, signal?: AbortSignal): Promise<readonly string[]> {
  const pause = await ensurePause({ progress, signal });
  const coredns = await ensureCoredns(progress, signal);
  const entry = { name: "system-images", version: `pause-v${PAUSE_VERSION}-coredns-${COREDNS}` };
  const dir = await cached(entryPath(entry), progress, async (temporary) => {
    const architecture = goArch();
    await writeOciArchive(
      { reference: PAUSE_IMAGE, program: pause, name: "pause", entrypoint: ["/pause"], architecture },
      join(temporary, "pause.tar"),
    );
    await writeOciArchive(
      { reference: COREDNS_IMAGE, program: coredns, name: "coredns", entrypoint: ["/coredns"], architecture },
      join(temporary, "coredns.tar"),
    );
  });
  return [join(dir, "pause.tar"), join(dir, "coredns.tar")];
}
