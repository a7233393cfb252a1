// Reads pods as kubectl prints them with `podTemplate`, one line each, and says what is wrong with their containers. Pure.

/** No JSON and no name holds it. Not a tab: kubectl lays its watch out in columns and replaces tabs by blanks. */
export const fieldMark = "~|~";

/** jsonpath prints lists as JSON. */
export const podTemplate = [
  "{.metadata.name}",
  "{.metadata.labels.app\\.kubernetes\\.io/name}",
  "{.metadata.deletionTimestamp}",
  "{.status.phase}",
  "{.status.conditions}",
  "{.status.initContainerStatuses}",
  '{.status.containerStatuses}{"\\n"}',
].join(`{"${fieldMark}"}`);

export interface PodState {
  readonly name: string;
  readonly part: string;
  readonly deleted: boolean;
  readonly phase: string;
  readonly ready: boolean;
  /** What the scheduler says; empty when it has placed the pod. */
  readonly unschedulable: string;
  readonly containers: readonly ContainerStatus[];
}

interface ContainerStatus {
  readonly name: string;
  readonly image: string;
  readonly restartCount: number;
  readonly state?: {
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly terminated?: Terminated;
  };
  readonly lastState?: { readonly terminated?: Terminated };
}

interface Terminated {
  readonly exitCode: number;
  readonly reason?: string;
  readonly message?: string;
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly message?: string;
}

export function podOfLine(line: string): PodState | undefined {
  const [name = "", part = "", deletedAt = "", phase = "", conditionsText = "", ...statusTexts] = line.split(fieldMark);
  if (name === "" || statusTexts.length !== 2) return undefined;
  const conditions = list(conditionsText) as readonly Condition[];
  const scheduled = conditions.find(({ type }) => type === "PodScheduled");
  return {
    name,
    part,
    phase,
    deleted: deletedAt !== "",
    ready: deletedAt === "" && conditions.some(({ type, status }) => type === "Ready" && status === "True"),
    unschedulable: scheduled?.status === "False" ? (scheduled.message ?? "not scheduled") : "",
    containers: statusTexts.flatMap((text) => list(text) as readonly ContainerStatus[]),
  };
}

function list(text: string): readonly unknown[] {
  return text === "" ? [] : (JSON.parse(text) as unknown[]);
}

export interface ContainerFault {
  readonly reason: string;
  readonly message: string;
  readonly hint: string;
  /** Waiting longer does not help. */
  readonly fatal: boolean;
}

const pullHint = "push the images where the cluster can pull them, or name them: --image-registry HOST/PATH";
const waitingFaults: Readonly<Record<string, { readonly hint: string; readonly fatal: boolean }>> = {
  ErrImagePull: { hint: pullHint, fatal: false },
  ImagePullBackOff: { hint: pullHint, fatal: true },
  InvalidImageName: { hint: pullHint, fatal: true },
  ErrImageNeverPull: { hint: pullHint, fatal: true },
  CreateContainerConfigError: { hint: "a Secret or ConfigMap that the pod names is missing", fatal: false },
  CreateContainerError: { hint: "the node's container runtime refuses it", fatal: false },
  RunContainerError: { hint: "the node's container runtime refuses it", fatal: false },
  CrashLoopBackOff: { hint: "the container ends again and again: see its log", fatal: true },
};

export function containerFaults(pod: PodState): readonly ContainerFault[] {
  return pod.containers.flatMap((container) => {
    const { reason = "", message = "" } = container.state?.waiting ?? {};
    const known = waitingFaults[reason];
    if (known === undefined) return [];
    const ended = container.lastState?.terminated;
    const said = [message, ended?.message ?? "", ended === undefined ? "" : `exit status ${ended.exitCode}`];
    return [{ reason: `${reason} (${container.image})`, message: said.filter(Boolean).join("; "), ...known }];
  });
}
