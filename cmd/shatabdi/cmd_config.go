package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, print or begin a configuration",
		Long: `The configuration is a YAML file; each key can also be given by an environment
variable SHATABDI_…, the common ones by a flag. A flag wins over the
environment, the environment over the file, the file over the default.`,
	}
	group(cmd)
	cmd.AddCommand(configCheckCommand(), configPrintCommand(), configRunningCommand(), configExampleCommand())
	return cmd
}

func configCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "check",
		Short:   "Report every problem of a configuration at once",
		Example: `  shatabdi config check --config /etc/shatabdi/shatabdi.yaml && systemctl restart shatabdi`,
		Args:    cobra.NoArgs,
	}
	f := bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := load(f, os.Environ())
		if err != nil {
			return err
		}
		for _, w := range l.warnings {
			fmt.Fprintf(cmd.ErrOrStderr(), "shatabdi: warning: %s\n", w)
		}
		fmt.Fprintln(cmd.OutOrStdout(), "the configuration is good")
		return nil
	}
	return cmd
}

func configPrintCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print the configuration in effect and where each value came from",
		Long: `Print the configuration in effect, as YAML that can be used as a file. Each value
is followed by its source: default, file with line, environment variable or flag.
Passwords in URLs are hidden.`,
		Example: `  SHATABDI_LOG_LEVEL=debug shatabdi config print --config shatabdi.yaml`,
		Args:    cobra.NoArgs,
	}
	f := bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := load(f, os.Environ())
		if err != nil {
			return err
		}
		printEffective(cmd.OutOrStdout(), l)
		return nil
	}
	return cmd
}

func configExampleCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "example",
		Short:   "Print a configuration file with every key, its meaning and its default",
		Example: `  shatabdi config example > shatabdi.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			printExample(cmd.OutOrStdout(), DefaultConfig())
			return nil
		},
	}
}
