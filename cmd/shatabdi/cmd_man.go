package main

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func manCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "man [COMMAND]...",
		Short: "Print the manual page of a command, or write all of them",
		Long: `Print the manual page of a command to standard output, or with --dir write those of
all commands into a directory.`,
		Example: `  shatabdi man get | man -l -
  shatabdi man --dir /usr/local/share/man/man1`,
	}
	cmd.Flags().StringVar(&dir, "dir", "", "write all pages into `DIR`, which is there")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		root := cmd.Root()
		root.DisableAutoGenTag = true
		b := buildInfo()
		page := &doc.GenManHeader{Section: "1", Source: "shatabdi " + b.Version, Manual: "Shatabdi"}
		if made, err := time.Parse(time.RFC3339, b.Time); err == nil {
			page.Date = &made
		}
		if dir != "" {
			if len(args) > 0 {
				return usage("", "--dir writes the pages of all commands")
			}
			return doc.GenManTree(root, page, dir)
		}
		of, rest, err := root.Find(args)
		if err != nil || len(rest) > 0 {
			return usage("`shatabdi --help` shows the commands", "no command is called so: %q", args)
		}
		return doc.GenMan(of, page, cmd.OutOrStdout())
	}
	return cmd
}
