package agent

// Student975 is student975, for a test.
var Student975 = student975
