// Command kube-server is kube-apiserver, kube-controller-manager and kube-scheduler in one executable: the upstream
// commands, chosen by the name that it is called by. One link instead of three, and shared pages in memory.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"
	_ "time/tzdata" // CronJob time zones must not depend on the host

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

func command(name string) *cobra.Command {
	switch name {
	case "kube-apiserver":
		return apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		return controllermanager.NewControllerManagerCommand()
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand()
	}
	return nil
}

// settle ends what GOGC asks for during the start, once the time is over that the environment names: from then on garbage is
// collected as in upstream's own programs, and what the start has taken goes back to the system.
func settle() {
	after, err := time.ParseDuration(os.Getenv("KINA_SETTLE_AFTER"))
	if err != nil {
		return // it was not asked for
	}
	time.Sleep(after)
	debug.SetGCPercent(100)
	debug.FreeOSMemory()
}

func main() {
	name := filepath.Base(os.Args[0])
	chosen := command(name)
	if chosen == nil {
		fmt.Fprintf(os.Stderr, "%s: call me kube-apiserver, kube-controller-manager or kube-scheduler\n", name)
		os.Exit(2)
	}
	go settle()
	os.Exit(cli.Run(chosen))
}
