// `osm_request_*` as a Prometheus would read them from an Envoy, under the names that the shipped scrape rules give.
export interface RequestSeries {
  readonly metric: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const line = /^envoy_(osm_request_[a-z_]+)\{(.*)\} ([0-9.e+]+)$/;

/** `text` is what `/stats/prometheus` answers. */
export function requestSeries(text: string, metric = "osm_request_total"): readonly RequestSeries[] {
  return text.split("\n").flatMap((row) => {
    const [, name = "", labels = "", value = ""] = line.exec(row) ?? [];
    if (name !== metric) return [];
    // an empty label is none
    const pairs = [...labels.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)+)"/g)].map(([, key = "", text = ""]) => [key, text]);
    return [{ metric: name, labels: Object.fromEntries(pairs) as Record<string, string>, value: Number(value) }];
  });
}
