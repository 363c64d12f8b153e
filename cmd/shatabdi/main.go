// Shatabdi is an HTTP caching proxy backed by a swarm: every machine that
// downloads a large object also uploads it to the others, and the origin sends
// it once.
//
// This package is the command: it reads the configuration, wires the parts
// together, starts and stops them, and serves the operator. What the parts do
// is theirs.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes one command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root, started := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteC()
	if ce := (*cliError)(nil); err != nil && !*started && !errors.As(err, &ce) {
		// cobra refused the arguments before any command began.
		err = usage("", "%w", err)
	}
	return speak(stderr, hinted(cmd, err))
}

// rootCommand returns the command tree, and whether a command has begun.
func rootCommand() (root *cobra.Command, started *bool) {
	started = new(bool)
	root = &cobra.Command{
		Use:   "shatabdi",
		Short: "An HTTP caching proxy backed by a swarm",
		Long: `Shatabdi runs on every machine as a local HTTP proxy. Large responses become
torrents: the origin sends each of them once, and every machine that downloads
also uploads to the others. Small responses pass straight through.

Every command exits with 0 when all is done, 1 after a failure, 2 where the command
line or the configuration is wrong, 3 when there is no such thing, 4 when something
was broken off, was not in time or could be had in part only, and 5 when no daemon
answers. What went wrong is on standard error, with a hint what to try.`,
		Example: `  shatabdi serve                                   # a cluster of one
  eval "$(shatabdi env)"                           # tell wget, curl and others
  wget http://example.com/large.iso

  shatabdi serve --etcd-endpoints http://10.0.0.1:2379   # join others`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(*cobra.Command, []string) {
			*started = true
		},
	}
	group(root)
	root.AddCommand(
		serveCommand(), configCommand(), reloadCommand(), envCommand(), explainCommand(), eventsCommand(),
		getCommand(), putCommand(), warmCommand(), warmupsCommand(), statusCommand(), statsCommand(), topCommand(), nodesCommand(), leaderCommand(), drainCommand(), modeCommand(), limitsCommand(), lsCommand(), hotCommand(), infoCommand(), priorityCommand(), pinCommand(), unpinCommand(), verifyCommand(), exportCommand(), purgeCommand(),
		doctorCommand(), checkCommand(), versionCommand(), manCommand(), fleetCommand(), rawCommand(), stockCommand(), trackerCommand(),
	)
	root.InitDefaultCompletionCmd()
	if cmd, _, err := root.Find([]string{"completion"}); err == nil {
		group(cmd)
	}
	return root, started
}

// group makes cmd a command that only has subcommands: alone it prints its
// help, and a word it does not know is an error.
func group(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := fmt.Sprintf("`%s --help` shows the commands", cmd.CommandPath())
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = fmt.Sprintf("did you mean `%s %s`?", cmd.CommandPath(), near[0])
		}
		return usage(hint, "unknown command %q", args[0])
	}
}
