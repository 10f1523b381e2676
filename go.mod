module github.com/planegym/planegym

go 1.26.0

require (
	github.com/BurntSushi/toml v1.6.0
	github.com/p4lang/p4runtime v1.5.0
	github.com/spf13/cobra v1.10.2
	golang.org/x/sys v0.49.0
	google.golang.org/genproto/googleapis/rpc v0.0.0-20250218202821-56aae31c358a
	google.golang.org/grpc v1.72.2
	google.golang.org/protobuf v1.36.5
)

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	golang.org/x/net v0.38.0 // indirect
	golang.org/x/text v0.23.0 // indirect
)

// It holds packages that google.golang.org/genproto/googleapis/rpc holds too.
exclude google.golang.org/genproto v0.0.0-20230410155749-daa745c078e1
