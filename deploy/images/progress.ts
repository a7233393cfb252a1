// Progress of long steps as lines with the time that passed; silent when there is nothing to do.
export type Progress = (line: string) => void;

export function timedProgress(write: (text: string) => void): Progress {
  const started = performance.now();
  return (line) => write(`${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s  ${line}\n`);
}
