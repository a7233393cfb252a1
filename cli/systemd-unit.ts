// A systemd unit that runs this program as a service. Pure.

export interface UnitService {
  readonly description: string;
  readonly user: string;
  readonly workingDirectory: string;
  readonly command: readonly string[];
  /** How long the program may take to drain. */
  readonly stopSeconds: number;
}

/** KillMode=mixed: only this program gets the signal, for it ends its children in the right order. */
export function systemdUnit({ description, user, workingDirectory, command, stopSeconds }: UnitService): string {
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
NoNewPrivileges=yes

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
