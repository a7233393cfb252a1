// A systemd unit that runs this program as a service. Pure.

export interface UnitService {
  readonly description: string;
  readonly user: string;
  readonly workingDirectory: string;
  readonly command: readonly string[];
  /** How long the program may take to drain. */
  readonly stopSeconds: number;
  /** It makes control groups below its own. */
  readonly delegate?: boolean;
}

/** KillMode=mixed: only this program gets the signal, for it ends its children in the right order. */
export function systemdUnit(service: UnitService): string {
  const { description, user, workingDirectory, command, stopSeconds, delegate = false } = service;
  return `[Unit]
Description=${description.replaceAll("%", "%%")}
Wants=network-online.target
After=network-online.target

[Service]
User=${user}
WorkingDirectory=${workingDirectory.replaceAll("%", "%%")}
ExecStart=${command.map(word).join(" ")}
Restart=always
RestartSec=1
KillMode=mixed
TimeoutStopSec=${stopSeconds}
${delegate ? "Delegate=yes\n" : ""}NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
`;
}

/** systemd.syntax(7): quotes as in C, `%` begins a specifier and `$` a variable. */
function word(text: string): string {
  const plain = text.replaceAll("%", "%%").replaceAll("$", "$$$$");
  if (/^[\w@%+=:,./$-]+$/.test(plain) && plain !== "") return plain;
  return `"${plain.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;
}
