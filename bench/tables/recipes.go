package main

// tables are those that documents hold.
var tables = []table{
	{"play", "README.md", "what policies earn in the default scenario", playSteps, renderPlay},
	{"hours", "timegan/DESIGN.md", "models of the published hours, beside what needs no model", hoursSteps, renderHours},
	{"stocks", "timegan/DESIGN.md", "the field's public benchmark on Stocks", stocksSteps, renderStocks},
	transferTables[0].table(), transferTables[1].table(), transferTables[2].table(), transferTables[3].table(),
	{"agents", "scenarios/TRANSFER.md", "what agents that learnt in a closed loop earn on its testbed, beside those that learnt there", agentsSteps, renderAgents},
	{"metrics", "scenarios/TRANSFER.md", "which figures of recordings say what a model is worth", metricsSteps, renderMetrics},
}
