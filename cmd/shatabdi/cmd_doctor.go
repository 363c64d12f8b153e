package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func doctorCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what keeps a daemon from its work",
		Long: `Look for what keeps a daemon from its work on this machine: ports, disk, etcd, the
other nodes and their clocks, the proxy itself, the environment of programs, and
settings that are too open. It takes the flags, the environment and the file that
serve takes. Without a running daemon it looks at what can be looked at then. The
exit code is 0 when there is no fault (there may be warnings), 1 when there is
one, and 2 when the configuration is wrong.`,
		Example: `  shatabdi doctor
  shatabdi doctor --config /etc/shatabdi/shatabdi.yaml -o json`,
		Args: cobra.NoArgs,
	}
	f := bind(cmd)
	admin := adminFlag(cmd)
	outputFlag(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := load(f, os.Environ())
		if err != nil {
			return err
		}
		d := doctor{cfg: l, env: map[string]string{}, out: diagnosis{Findings: []finding{}}}
		if admin.url == "" && os.Getenv(adminVariable) == "" {
			admin.url = d.address(cmd.Context())
			admin.tokenFile = cmp.Or(admin.tokenFile, d.token())
		}
		if d.daemon, err = newClient(*admin); err != nil {
			return err
		}
		for _, name := range []string{"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"} {
			d.env[name] = os.Getenv(name)
		}
		found := d.examine(cmd.Context())
		if err := printAs(cmd.OutOrStdout(), output, found, func(w io.Writer) { writeDiagnosis(w, found) }); err != nil {
			return err
		}
		faults := 0
		for _, f := range found.Findings {
			if f.State == fault {
				faults++
			}
		}
		if faults > 0 {
			return failure("mend what is named first: others may follow from it", "%d %s", faults, plural(faults, "fault"))
		}
		return nil
	}
	return cmd
}

func writeDiagnosis(w io.Writer, d diagnosis) {
	var rows [][]string
	for _, f := range d.Findings {
		text := f.Text
		if f.Hint != "" && f.State != soundness {
			text = strings.TrimPrefix(text+"; ", "; ") + f.Hint
		}
		rows = append(rows, []string{f.Check, f.State, text})
	}
	writeTable(w, rows)
	if !d.Running {
		fmt.Fprintln(w, "no daemon runs: what only it knows was not looked at")
	}
}
