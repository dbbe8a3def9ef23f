module warren.example/probe

go 1.22
