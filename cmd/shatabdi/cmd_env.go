package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// noProxy is what programs on this machine should reach without the proxy.
const noProxy = "localhost,127.0.0.1,::1"

// snippets are settings for programs that do not read the environment, or run
// without it: where to put them, and what. %[1]s is the proxy's URL.
var snippets = map[string]string{
	"wget": `# ~/.wgetrc
use_proxy = on
http_proxy = %[1]s
no_proxy = %[2]s
`,
	"curl": `# ~/.curlrc
proxy = "%[1]s"
noproxy = "%[2]s"
`,
	"apt": `// /etc/apt/apt.conf.d/80shatabdi
Acquire::http::Proxy "%[1]s";
`,
	"pip": `# ~/.config/pip/pip.conf; for an index that is served over http
[global]
proxy = %[1]s
`,
	// JSON has no comments: the place is told on standard error.
	"docker": `{
  "proxies": {
    "http-proxy": "%[1]s",
    "no-proxy": "%[2]s"
  }
}
`,
	"systemd": `# systemctl edit UNIT
[Service]
Environment=http_proxy=%[1]s HTTP_PROXY=%[1]s
Environment=no_proxy=%[2]s NO_PROXY=%[2]s
`,
}

func envCommand() *cobra.Command {
	var shell string
	cmd := &cobra.Command{
		Use:   "env [" + strings.Join(sortedKeys(snippets), "|") + "]",
		Short: "Print what makes programs use the proxy",
		Long: `Print the environment variables that make programs use the proxy, for the shell
to evaluate. With the name of a program, print its own settings instead and
where they go.`,
		Example: `  eval "$(shatabdi env)"            # sh, bash, zsh
  shatabdi env | source             # fish
  shatabdi env apt | sudo tee /etc/apt/apt.conf.d/80shatabdi`,
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: sortedKeys(snippets),
	}
	f := bind(cmd, "proxy.listen", "proxy.allow")
	cmd.Flags().StringVar(&shell, "shell", "", "`SHELL` to write for: sh or fish; that of $SHELL by default")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		l, err := load(f, os.Environ())
		if err != nil {
			return err
		}
		url := "http://" + dialable(l.Proxy.Listen)
		if len(args) == 0 {
			text, err := exports(url, shell)
			fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		}
		text, ok := snippets[args[0]]
		if !ok {
			return usage("", "no settings known for %q; want one of %s", args[0], strings.Join(sortedKeys(snippets), ", "))
		}
		if args[0] == "docker" {
			fmt.Fprintln(cmd.ErrOrStderr(), "merge into /etc/docker/daemon.json, then: systemctl restart docker")
		}
		if strings.Contains(text, "%[2]s") {
			fmt.Fprintf(cmd.OutOrStdout(), text, url, noProxy)
		} else {
			fmt.Fprintf(cmd.OutOrStdout(), text, url)
		}
		return nil
	}
	return cmd
}

// exports sets the variables in both cases: curl reads http_proxy only, others
// HTTP_PROXY only.
func exports(url, shell string) (string, error) {
	format := "export %s=%s\n"
	switch {
	case shell == "fish", shell == "" && filepath.Base(os.Getenv("SHELL")) == "fish":
		format = "set -gx %s %s\n"
	case shell != "" && shell != "sh" && shell != "bash" && shell != "zsh":
		return "", usage("", "--shell %q; want sh or fish", shell)
	}
	var b strings.Builder
	for _, name := range []string{"http_proxy", "HTTP_PROXY"} {
		fmt.Fprintf(&b, format, name, url)
	}
	for _, name := range []string{"no_proxy", "NO_PROXY"} {
		fmt.Fprintf(&b, format, name, noProxy)
	}
	return b.String(), nil
}

// dialable turns an address to listen on into one to connect to.
func dialable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
