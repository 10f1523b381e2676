module github.com/planegym/planegym

go 1.26
