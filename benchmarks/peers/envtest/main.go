// Starts and stops controller-runtime's envtest on demand, and says how long each took.
//
// A line "start" on standard input is answered with {"started": s, "usable": s, "kubeconfig": "…"}, a line "stop"
// with {"stopped": s}. Seconds count from the call: "started" until Start returns, "usable" until a namespace is created.
// The binaries are those in KUBEBUILDER_ASSETS.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	var environment *envtest.Environment
	for lines.Scan() {
		switch lines.Text() {
		case "start":
			environment = &envtest.Environment{}
			say(start(environment))
		case "stop":
			began := time.Now()
			check(environment.Stop())
			say(map[string]any{"stopped": time.Since(began).Seconds()})
			environment = nil
		}
	}
	if environment != nil {
		check(environment.Stop())
	}
}

func start(environment *envtest.Environment) map[string]any {
	began := time.Now()
	config, err := environment.Start()
	check(err)
	started := time.Since(began).Seconds()
	client, err := kubernetes.NewForConfig(config)
	check(err)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "first"}}
	_, err = client.CoreV1().Namespaces().Create(context.Background(), namespace, metav1.CreateOptions{})
	check(err)
	usable := time.Since(began).Seconds()
	user, err := environment.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	check(err)
	kubeconfig, err := user.KubeConfig()
	check(err)
	return map[string]any{"started": started, "usable": usable, "kubeconfig": string(kubeconfig)}
}

func say(answer map[string]any) {
	check(json.NewEncoder(os.Stdout).Encode(answer))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
