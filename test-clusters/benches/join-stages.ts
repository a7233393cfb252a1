// Where the time of a join went, from what Kubernetes wrote into the pods (whole seconds): for the bench's report. Pure.

/** As much of a pod as is read. */
export interface PodTimes {
  readonly metadata: { readonly creationTimestamp: string; readonly labels?: Readonly<Record<string, string>> };
  readonly status: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly lastTransitionTime: string;
    }[];
  };
}

/** Seconds since the start of the command; undefined where it has not come to pass. */
export interface JoinStages {
  readonly pods_created: number | undefined;
  readonly pods_started: number | undefined;
  readonly agent_ready: number | undefined;
  readonly gateway_initialized: number | undefined;
  readonly gateway_ready: number | undefined;
}

/** The first replica counts: join waits for one of each. */
export function joinStages(startedAtMs: number, pods: readonly PodTimes[]): JoinStages {
  const since = (times: readonly (string | undefined)[]): number | undefined => {
    const known = times.filter((time) => time !== undefined).map((time) => Date.parse(time));
    return known.length === 0 ? undefined : Math.round((Math.min(...known) - startedAtMs) / 1000);
  };
  const of = (part: string) => pods.filter(({ metadata }) => metadata.labels?.["app.kubernetes.io/name"] === part);
  const first = (chosen: readonly PodTimes[], type: string) =>
    since(
      chosen.map(
        ({ status }) =>
          status.conditions?.find((each) => each.type === type && each.status === "True")?.lastTransitionTime,
      ),
    );
  return {
    pods_created: since(pods.map(({ metadata }) => metadata.creationTimestamp)),
    pods_started: first(pods, "PodReadyToStartContainers"),
    agent_ready: first(of("isthmus-agent"), "Ready"),
    gateway_initialized: first(of("isthmus-gateway"), "Initialized"),
    gateway_ready: first(of("isthmus-gateway"), "Ready"),
  };
}
