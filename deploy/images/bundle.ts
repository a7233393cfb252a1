// The agent as one file: a pod of it starts in half the time, for most of a start is finding and reading 700 modules.
// Called by context.ts on what was compiled; the same on every machine. Modules that look for files beside themselves keep
// finding them, and what is loaded only on demand stays where it is.
import { dirname, join, relative } from "node:path";
import { rolldown, type Plugin } from "rolldown";

/** Loaded only where a kubeconfig is read, which no pod does. */
const external = [/^@kubernetes\/client-node/];

/** `entry` and `output` relative to `root`, the folder that holds node_modules' sibling `dist`. */
export async function bundle(root: string, entry: string, output: string): Promise<void> {
  const build = await rolldown({
    input: join(root, entry),
    platform: "node",
    external,
    plugins: [whereItWas(root, join(root, dirname(output)))],
    onLog: () => undefined,
  });
  try {
    await build.write({ file: join(root, output), format: "esm", codeSplitting: false, comments: false });
  } finally {
    await build.close();
  }
}

/** `import.meta.url` of a module of ours, said from where the bundle lies. */
function whereItWas(root: string, from: string): Plugin {
  return {
    name: "where-it-was",
    transform: (code, id) => {
      if (!id.startsWith(join(root, "dist")) || !code.includes("import.meta.")) return null;
      const path = JSON.stringify(`./${relative(from, id)}`);
      return code.replaceAll("import.meta.url", `new URL(${path}, import.meta.url).href`);
    },
  };
}
