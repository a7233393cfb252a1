// Says each problem once when it comes up and once when it is mended: a person edits a file and looks at the log.
import type { Log } from "../../shared/log.ts";
import type { Problem } from "../../shared/result.ts";

export function createProblemLog(log: Log): (problems: readonly Problem[]) => void {
  let standing = new Set<string>();
  return (problems) => {
    const now = new Map(problems.map((problem) => [textOf(problem), problem]));
    for (const [text, { code }] of now) if (!standing.has(text)) log.warn(text, { code });
    for (const text of standing) if (!now.has(text)) log.info("no longer a problem", { was: text });
    standing = new Set(now.keys());
  };
}

function textOf({ message, object }: Problem): string {
  if (object === undefined) return message;
  const { kind, namespace, name } = object;
  return `${message} (${kind} ${namespace === undefined ? "" : `${namespace}/`}${name})`;
}
